//! Packets that are taken aside: all of them come back, once, to where they left.

use std::time::Duration;

use chaos::experiment::units::Direction;
use chaos::host::boot_time;
use chaos::kernel::bpf::{
    Attached, DetourAt, DetourVia, Device, HeldTimes, Mechanism, Object, Sizes, TcProgram,
};
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Action, Detour, Duplicate, Loss, Request, Rule, compile};
use chaos_common::Hook;

use crate::net::{FAMILIES, datagrams, received, round_trip, to_port};
use crate::support::{NEAR, Pair, isolated};

const LONG: Duration = Duration::from_secs(20);
const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];

fn detour(share: Loss) -> Action {
    Action::Detour(Detour { share, what: "nothing".into() })
}

/// A veth pair in one namespace that holds nothing back, and an object that uses it.
struct Way {
    netns: NetNs,
    object: Object,
    near_side: u32,
    attached: Vec<Attached>,
}

impl Way {
    /// Rules at these devices of a namespace, with a detour of numbers `index` and `index + 1`.
    fn new(netns: &NetNs, devices: &[&str], rules: &[Rule], index: u32) -> Self {
        Self::with(netns, devices, rules, index, Mechanism::Auto)
    }

    fn with(
        netns: &NetNs,
        devices: &[&str],
        rules: &[Rule],
        index: u32,
        mechanism: Mechanism,
    ) -> Self {
        let (one, other) = (format!("way{index}"), format!("way{}", index + 1));
        let found: Vec<Device> = netns
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let here = NetNs::current().unwrap();
                netlink.add_veth((&one, index), (&other, index + 1), &here).await.unwrap();
                for name in [&one, &other] {
                    // Not a word of its own.
                    let ipv6 = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
                    std::fs::write(ipv6, "1").unwrap();
                    netlink.set_up(&netlink.link(name).await.unwrap()).await.unwrap();
                }
                let mut found = Vec::new();
                for name in devices.iter().copied().chain([other.as_str()]) {
                    let link = netlink.link(name).await.unwrap();
                    let ethernet = link.ethernet;
                    found.push(Device { index: link.index, name: link.name, ethernet });
                }
                Netlink::wait_running(&[&one, &other], Duration::from_secs(5)).await.unwrap();
                found
            })
            .unwrap();
        let (far_side, devices) = found.split_last().unwrap();
        let empty = vec![Vec::new(); rules.len()];
        let request = Request {
            rules,
            devices: &empty,
            not_before: boot_time(),
            not_after: u64::MAX,
            seed: 1,
            skip_tagged: false,
        };
        let tables = compile(&request).unwrap().tables;
        let mut way = Self {
            netns: netns.clone(),
            object: Object::load(Sizes::of(&tables)).unwrap(),
            near_side: index,
            attached: Vec::new(),
        };
        let filled = way.object.fill(&tables).unwrap();
        let mut slot = 1;
        for device in devices {
            for hook in HOOKS {
                for rule in 0..rules.len() as u32 {
                    let at = DetourAt { rule, device: device.index, hook };
                    way.object.set_detour(at, way.via(slot)).unwrap();
                    slot += 1;
                }
            }
        }
        let attached = netns
            .run(|| {
                let object = &mut way.object;
                let mut all = vec![object.attach_give_back(far_side, mechanism).unwrap()];
                for device in devices {
                    for hook in HOOKS {
                        let program = TcProgram::of(device, hook).unwrap();
                        all.push(object.attach_tc(device, program, mechanism).unwrap());
                    }
                }
                all
            })
            .unwrap();
        way.attached = attached;
        way.object.lease().extend(u64::MAX);
        way.object.lease().extend_detours(u64::MAX);
        way.object.flip(filled, 0);
        way
    }

    fn via(&self, slot: u16) -> DetourVia {
        DetourVia { device: self.near_side, class: None, slot, measured: Some(0), queue: None }
    }

    fn measured(&self) -> HeldTimes {
        self.object.held_times(0).unwrap()
    }

    fn acted(&self, rule: u32) -> u64 {
        self.object.counters().unwrap().rule(rule).unwrap().acted
    }

    fn matched(&self, rule: u32) -> u64 {
        self.object.counters().unwrap().rule(rule).unwrap().matched
    }

    /// Packets that came back, and that could not be sent.
    fn returned(&self) -> (u64, u64) {
        let hooks = self.object.counters().unwrap().hooks().unwrap();
        HOOKS.iter().fold((0, 0), |(returned, failed), &hook| {
            let counters = hooks.hook(hook);
            (returned + counters.returned, failed + counters.detour_failed)
        })
    }

    fn end(mut self) {
        self.object.disarm();
        let netns = self.netns.clone();
        netns
            .run(|| {
                for attached in self.attached.drain(..) {
                    self.object.detach(attached).unwrap();
                }
            })
            .unwrap();
    }
}

fn rule(direction: Direction, port: u16, action: Action) -> Rule {
    Rule { name: "it".into(), selector: to_port(direction, port), action }
}

fn all_come_back(mechanism: Mechanism) {
    let pair = Pair::new();
    let flows = FAMILIES.map(|(far, near)| (pair.near_socket(near), pair.far_socket(far)));
    let spared = FAMILIES.map(|(far, near)| (pair.near_socket(near), pair.far_socket(far)));
    let echoes = FAMILIES.map(|(far, _)| pair.echo(far));
    let ports = flows.iter().map(|(_, there)| there.local_addr().unwrap().port());
    let rules: Vec<Rule> = ports
        .chain(echoes.iter().map(std::net::SocketAddr::port))
        .map(|port| rule(Direction::Both, port, detour(Loss::Always)))
        .collect();
    let way = Way::with(&pair.near, &[NEAR], &rules, 20, mechanism);
    for (at, (here, there)) in flows.iter().enumerate() {
        let (before, _) = way.returned();
        assert_eq!(datagrams(here, there, 100), 100);
        assert_eq!(way.returned(), (before + 100, 0));
        assert_eq!(datagrams(there, here, 100), 100);
        assert_eq!(way.returned(), (before + 200, 0));
        assert_eq!(way.measured().count(), before + 200);
        assert_eq!((way.acted(at as u32), way.matched(at as u32)), (200, 200));
    }
    let (before, _) = way.returned();
    for (here, there) in &spared {
        assert_eq!(datagrams(here, there, 100), 100);
        assert_eq!(datagrams(there, here, 100), 100);
    }
    assert_eq!(way.returned(), (before, 0));
    let mut streams = echoes.map(|echo| pair.connect(echo, LONG).unwrap());
    for stream in &mut streams {
        round_trip(stream, 1_000_000, LONG).unwrap();
    }
    let (returned, failed) = way.returned();
    assert!(returned > before + 20 && failed == 0, "{returned} {failed}");
    let times = way.measured();
    assert!(times.count() > before + 20 && times.count() <= returned, "{}", times.count());
    let (mean, most) = (times.mean().unwrap(), times.quantile(1.0).unwrap());
    assert!(!mean.is_zero() && mean <= most && most < LONG, "{mean:?} {most:?}");
    way.end();
    for stream in &mut streams {
        round_trip(stream, 100_000, LONG).unwrap();
    }
}

#[test]
fn all_that_is_taken_aside_comes_back_both_ways() {
    isolated("detours::all_that_is_taken_aside_comes_back_both_ways", || {
        all_come_back(Mechanism::Auto);
    });
}

#[test]
fn all_that_is_taken_aside_comes_back_both_ways_with_clsact() {
    isolated("detours::all_that_is_taken_aside_comes_back_both_ways_with_clsact", || {
        all_come_back(Mechanism::Clsact);
    });
}

#[test]
fn a_share_is_a_share_and_detours_follow_each_other() {
    isolated("detours::a_share_is_a_share_and_detours_follow_each_other", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let here = pair.near_socket(near);
        let one = || detour(Loss::Always);
        let some = || detour(Loss::EveryNth(4));
        let copies = || Action::Duplicate(Duplicate { share: Loss::Always, copies: 1 });
        let cases = [
            (vec![some()], 100, 25),
            (vec![one(), one(), one()], 100, 300),
            (vec![one(), some()], 100, 125),
            // The copy goes the same way, and has its own turn with the next one.
            (vec![copies(), one()], 200, 200),
            (vec![one(), copies(), one()], 200, 400),
        ];
        let (mut rules, mut flows) = (Vec::new(), Vec::new());
        for (actions, arrive, return_) in cases {
            let there = pair.far_socket(far);
            let port = there.local_addr().unwrap().port();
            rules.extend(actions.into_iter().map(|action| rule(Direction::Both, port, action)));
            flows.push((there, arrive, return_));
        }
        let way = Way::new(&pair.near, &[NEAR], &rules, 20);
        for (at, (there, arrive, return_)) in flows.iter().enumerate() {
            let (before, _) = way.returned();
            for n in 0..100_usize {
                here.send_to(&n.to_ne_bytes(), there.local_addr().unwrap()).unwrap();
            }
            assert_eq!(received(there, 500), *arrive, "{at}");
            assert_eq!(way.returned(), (before + return_, 0), "{at}");
            assert_eq!(way.measured().count(), before + return_, "each time anew: {at}");
        }
        way.end();
    });
}

#[test]
fn runs_with_detours_of_their_own_follow_each_other() {
    isolated("detours::runs_with_detours_of_their_own_follow_each_other", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let port = there.local_addr().unwrap().port();
        for (at, mechanism) in [Mechanism::Auto, Mechanism::Clsact].into_iter().enumerate() {
            let rules = [rule(Direction::Both, port, detour(Loss::Always))];
            let index = 20 + 20 * at as u32;
            let one = Way::with(&pair.near, &[NEAR], &rules, index, mechanism);
            let two = Way::with(&pair.near, &[NEAR], &rules, index + 10, mechanism);
            for (from, to) in [(&here, &there), (&there, &here)] {
                assert_eq!(datagrams(from, to, 50), 50);
            }
            assert_eq!((one.returned(), two.returned()), ((100, 0), (100, 0)));
            assert_eq!((one.acted(0), two.acted(0)), (100, 100));
            one.end();
            assert_eq!(datagrams(&here, &there, 50), 50);
            assert_eq!(two.returned(), (150, 0));
            two.end();
        }
    });
}

#[test]
fn what_has_no_way_passes() {
    isolated("detours::what_has_no_way_passes", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let port = there.local_addr().unwrap().port();
        let rules = [rule(Direction::To, port, detour(Loss::Always))];
        let mut way = Way::new(&pair.near, &[NEAR], &rules, 20);
        let mut expected = (0, 0);
        let mut check = |way: &Way, back: u64, failed: u64, what: &str| {
            assert_eq!(datagrams(&here, &there, 50), 50, "{what}");
            expected = (expected.0 + back, expected.1 + failed);
            assert_eq!(way.returned(), expected, "{what}");
        };
        check(&way, 50, 0, "all well");
        way.object.lease().extend_detours(boot_time());
        check(&way, 0, 50, "the far side may be dead");
        way.object.lease().extend_detours(u64::MAX);
        way.object.lease().extend(boot_time());
        check(&way, 0, 0, "the controller may be dead");
        way.object.lease().extend(u64::MAX);
        let device = pair
            .near
            .block_on(|| async { Netlink::open().unwrap().link(NEAR).await.unwrap().index })
            .unwrap();
        let at = DetourAt { rule: 0, device, hook: Hook::Egress };
        way.object.clear_detour(at).unwrap();
        way.object.clear_detour(at).unwrap();
        check(&way, 0, 50, "no way is known");
        way.object.set_detour(at, way.via(1)).unwrap();
        check(&way, 50, 0, "it is known again");
        pair.near
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let link = netlink.link("way20").await.unwrap();
                netlink.delete_link(&link).await.unwrap();
            })
            .unwrap();
        check(&way, 0, 50, "the device is gone");
        way.end();
    });
}

#[test]
fn loopback_comes_back_too() {
    isolated("detours::loopback_comes_back_too", || {
        let pair = Pair::new();
        pair.near
            .run(|| {
                // A packet that comes back has lost its route, and a loopback address would be
                // taken for a martian's.
                for name in ["route_localnet", "accept_local"] {
                    std::fs::write(format!("/proc/sys/net/ipv4/conf/lo/{name}"), "1").unwrap();
                }
            })
            .unwrap();
        let flows = ["127.0.0.1", "10.77.0.1", "::1", "fd77::1"]
            .map(|address| (pair.near_socket(address), pair.near_socket(address)));
        let rules: Vec<Rule> = flows
            .iter()
            .map(|(_, there)| {
                let port = there.local_addr().unwrap().port();
                rule(Direction::Both, port, detour(Loss::Always))
            })
            .collect();
        let way = Way::new(&pair.near, &["lo"], &rules, 20);
        for (here, there) in &flows {
            let what = there.local_addr().unwrap();
            let (before, _) = way.returned();
            assert_eq!(datagrams(here, there, 50), 50, "{what}");
            assert_eq!(datagrams(there, here, 50), 50, "{what}");
            assert_eq!(way.returned(), (before + 100, 0), "{what}");
        }
        way.end();
    });
}
