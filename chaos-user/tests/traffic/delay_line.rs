//! Packets that leave the kernel for a delay line, which the kernel times all the same.

use std::time::Duration;

use chaos::experiment::units::Direction;
use chaos::host::boot_time;
use chaos::kernel::bpf::{
    Attached, Departures, DetourAt, DetourVia, Device, Mechanism, Object, Sizes, TcProgram,
};
use chaos::kernel::delay_line::{Config, DelayLine, Setting, Slot};
use chaos::kernel::netlink::Netlink;
use chaos::plan::{Action, Detour, Loss, Request, Rule, compile};
use chaos_common::Hook;

use crate::net::{FAMILIES, datagrams, round_trip, to_port};
use crate::support::{NEAR, Pair, isolated};

const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];
const HELD: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

/// A delay line in the near namespace for packets of these ports, in both directions.
fn hold(pair: &Pair, ports: &[u16]) -> (Object, DelayLine, Departures, Vec<Attached>) {
    let action = || Action::Detour(Detour { share: Loss::Always, what: "wait".into() });
    let rules = ports.iter().map(|&port| {
        let selector = to_port(Direction::Both, port);
        Rule { name: port.to_string(), selector, action: action() }
    });
    let rules: Vec<Rule> = rules.collect();
    let request = Request {
        rules: &rules,
        devices: &vec![Vec::new(); rules.len()],
        not_before: boot_time(),
        not_after: u64::MAX,
        seed: 1,
        skip_tagged: false,
    };
    let tables = compile(&request).unwrap().tables;
    let mut object = Object::load(Sizes { queues: 1, ..Sizes::of(&tables) }).unwrap();
    let departures = object.departures().unwrap();
    let config = Config {
        netns: Some(pair.near.clone()),
        departures: Some(departures.clone()),
        ..Config::default()
    };
    let line = DelayLine::start(config).unwrap();
    let tap = Device { index: line.tap_index(), name: line.tap_name().into(), ethernet: true };
    let device = pair
        .near
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            let tap = netlink.link(line.tap_name()).await.unwrap();
            netlink.set_mtu(&tap, 65_521).await.unwrap();
            let link = netlink.link(NEAR).await.unwrap();
            Device { index: link.index, name: link.name, ethernet: link.ethernet }
        })
        .unwrap();
    let mut slot = 1;
    for rule in 0..rules.len() as u32 {
        for hook in HOOKS {
            let setting = Setting { latency: HELD, ..Setting::default() };
            line.set(Slot::new(slot).unwrap(), device.index, setting).unwrap();
            let at = DetourAt { rule, device: device.index, hook };
            let (device, measured) = (line.tap_index(), Some(0));
            let via = DetourVia { device, class: None, slot, measured, queue: Some(0) };
            object.set_detour(at, via).unwrap();
            slot += 1;
        }
    }
    let filled = object.fill(&tables).unwrap();
    let attached = pair
        .near
        .run(|| {
            let mut all = vec![object.attach_give_back(&tap, Mechanism::Auto).unwrap()];
            for hook in HOOKS {
                let program = TcProgram::of(&device, hook).unwrap();
                all.push(object.attach_tc(&device, program, Mechanism::Auto).unwrap());
            }
            all
        })
        .unwrap();
    object.lease().extend(u64::MAX);
    object.lease().extend_detours(u64::MAX);
    object.flip(filled, 0);
    (object, line, departures, attached)
}

/// Packets that came back, and that could not be sent.
fn returned(object: &Object) -> (u64, u64) {
    let hooks = object.counters().unwrap().hooks().unwrap();
    HOOKS.iter().fold((0, 0), |(returned, failed), &hook| {
        let counters = hooks.hook(hook);
        (returned + counters.returned, failed + counters.detour_failed)
    })
}

#[test]
fn the_kernel_measures_what_a_delay_line_holds() {
    isolated("delay_line::the_kernel_measures_what_a_delay_line_holds", || {
        let pair = Pair::new();
        let flows = FAMILIES.map(|(far, near)| (pair.near_socket(near), pair.far_socket(far)));
        let echoes = FAMILIES.map(|(far, _)| pair.echo(far));
        let ports = flows.iter().map(|(_, there)| there.local_addr().unwrap().port());
        let ports: Vec<u16> = ports.chain(echoes.iter().map(std::net::SocketAddr::port)).collect();
        let (object, line, departures, _attached) = hold(&pair, &ports);
        for (number, (here, there)) in (0..).zip(&flows) {
            assert_eq!(datagrams(here, there, 50), 50);
            assert_eq!(datagrams(there, here, 50), 50);
            assert_eq!(returned(&object), ((number + 1) * 100, 0));
            let held = object.held_times(0).unwrap();
            // Every one of them, by the programs' clock.
            assert_eq!(held.count(), (number + 1) * 100);
            let least = held.quantile(0.0).unwrap();
            assert!(HELD <= least + Duration::from_micros(40) && least < LONG, "{least:?}");
            let by_thread: u64 = (1..=2)
                .map(|place| {
                    let slot = Slot::new(number as u16 * 2 + place).unwrap();
                    line.evidence(slot).unwrap().unwrap().hold.count()
                })
                .sum();
            assert_eq!(by_thread, 100);
        }
        // With room for one, what finds another one waiting passes, and none is lost.
        departures.limit(1, false);
        let (here, there) = &flows[0];
        assert_eq!(datagrams(here, there, 200), 200);
        let (after, passed) = returned(&object);
        assert_eq!(after + passed, 400);
        departures.limit(0, false);

        // Super-packets have no number, and come back as they are.
        for echo in echoes {
            round_trip(&mut pair.connect(echo, LONG).unwrap(), 300_000, LONG).unwrap();
        }
        let (back, failed) = returned(&object);
        assert!(back > after && failed == passed, "{back} {failed}");
        assert!(object.held_times(0).unwrap().count() <= back);
        let (outcome, _) = line.stop();
        outcome.unwrap();
    });
}
