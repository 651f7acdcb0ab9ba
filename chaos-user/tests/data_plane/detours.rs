//! Which packets are sent on a detour, and as what. That they come back is a matter of real traffic.

use chaos::kernel::bpf::{DetourAt, DetourVia};
use chaos::plan::{Action, Detour, Loss, Selector};
use chaos_common::Hook;

use crate::bench::{Bench, bench, seed};
use crate::oracle::{NEXT, Oracle, REDIRECT};
use crate::packets::{Kind, Sample, shapes};
use crate::rules::{both, ports, read, rule};

const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];

fn detour(share: Loss) -> Action {
    Action::Detour(Detour { share, what: "wait".into() })
}

/// Sends the first rule's packets from the first device to the second.
fn set(bench: &mut Bench) {
    let [device, other] = bench.devices;
    for (slot, hook) in (1..).zip(HOOKS) {
        let via = DetourVia {
            device: other,
            class: Some(0x0001_0002),
            slot,
            measured: Some(0),
            queue: None,
        };
        bench.object.set_detour(DetourAt { rule: 0, device, hook }, via).unwrap();
    }
    bench.object.lease().extend_detours(u64::MAX);
}

fn failures(bench: &Bench) -> u64 {
    HOOKS.iter().map(|&hook| bench.hook(hook).detour_failed).sum()
}

#[test]
fn every_shape_goes_as_it_is() {
    let seed = seed();
    bench(|bench| {
        bench.arm_one(&rule("it", both(), detour(Loss::Always)), seed);
        set(bench);
        let [device, other] = bench.devices;
        let mut sent = 0;
        for hook in HOOKS {
            for sample in shapes() {
                let exempt = sample.extensions.len() > 6;
                let outcome = bench.send(hook, device, &sample.bytes());
                assert_eq!(outcome.code, if exempt { NEXT } else { REDIRECT }, "{sample:?}");
                // Its tag is in the packet's metadata.
                assert_eq!(outcome.bytes.len(), sample.bytes().len(), "{sample:?}");
                sent += u64::from(!exempt);
                // Nothing is set for the other device.
                assert_eq!(bench.send(hook, other, &sample.bytes()).code, NEXT);
            }
        }
        assert_eq!((bench.rule(0).matched, bench.rule(0).acted), (2 * sent, sent));
        assert_eq!(failures(bench), sent);
    });
}

#[test]
fn what_is_measured_carries_the_time_and_a_senders_schedule_stays() {
    const HOUR: u64 = 3_600_000_000_000;
    let bytes = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2)).bytes();
    bench(|bench| {
        bench.arm_one(&rule("it", both(), detour(Loss::Always)), 1);
        set(bench);
        let [device, other] = bench.devices;
        for hook in HOOKS {
            let begin = monotonic();
            for (before, stays) in [
                (0, false),
                (begin, false),
                // Only what leaves has a schedule; what arrives says when it did.
                (begin + HOUR, hook == Hook::Egress),
            ] {
                let outcome = bench.send_at(hook, device, &bytes, before);
                assert_eq!(outcome.code, REDIRECT);
                let (after, now) = (outcome.time, monotonic());
                if stays {
                    assert_eq!(after, before, "{hook:?}");
                } else {
                    assert!(begin <= after && after <= now, "{hook:?}: {begin} {after} {now}");
                }
                // What passes keeps its time, whatever that is.
                assert_eq!(bench.send_at(hook, other, &bytes, before).time, before);
            }
        }
        let at = DetourAt { rule: 0, device, hook: Hook::Egress };
        let via = DetourVia { device: other, class: None, slot: 1, measured: None, queue: None };
        bench.object.set_detour(at, via).unwrap();
        assert_eq!(bench.send_at(Hook::Egress, device, &bytes, 7).time, 7, "it is not measured");
    });
}

/// CLOCK_MONOTONIC, ns.
fn monotonic() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    std::time::Duration::from(now).as_nanos() as u64
}

#[test]
fn shares_are_decided_as_the_oracle_says() {
    let seed = seed();
    let sample = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    let bytes = sample.bytes();
    for share in [Loss::Random(read("30%")), Loss::Exact(read("25%")), Loss::EveryNth(3)] {
        bench(|bench| {
            let rules = [rule("it", both(), detour(share))];
            let devices = [Vec::new()];
            bench.arm(&rules, &devices, seed);
            set(bench);
            // The oracle knows losses: what it would lose is what must go.
            let losses = [rule("it", both(), Action::Drop(share))];
            let mut oracle = Oracle::new(&losses, &devices, seed, vec![0]);
            for n in 0..2000 {
                let expected = oracle.meet(Hook::Egress, bench.devices[0], &sample);
                let outcome = bench.send(Hook::Egress, bench.devices[0], &bytes);
                assert_eq!([outcome.code], expected.codes[..], "{share}, packet {n}");
            }
            assert_eq!(bench.rule(0).acted, oracle.acted[0]);
            assert_eq!(bench.sequences(1), oracle.sequences);
        });
    }
}

#[test]
fn what_does_not_fit_passes() {
    let mut sample = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    bench(|bench| {
        bench.arm_one(&rule("it", both(), detour(Loss::Always)), 1);
        set(bench);
        let device = bench.devices[0];
        for (payload, fits) in [(1472, true), (1473, false)] {
            sample.payload.resize(payload, 7);
            let before = failures(bench);
            for hook in HOOKS {
                let outcome = bench.send(hook, device, &sample.bytes());
                assert_eq!(outcome.code, if fits { REDIRECT } else { NEXT }, "{payload}");
                assert!(fits || outcome.bytes == sample.bytes());
            }
            assert_eq!(failures(bench) - before, if fits { 0 } else { 2 });
        }
        let at = DetourAt { rule: 0, device, hook: Hook::Egress };
        for slot in [0, 4095, 5000] {
            let via = DetourVia { device, class: None, slot, measured: None, queue: None };
            assert!(bench.object.set_detour(at, via).is_err(), "{slot}");
        }
        let unmeasured = DetourVia { device, class: None, slot: 1, measured: Some(1), queue: None };
        assert!(bench.object.set_detour(at, unmeasured).is_err());
        for slot in [1, 4094] {
            let via = DetourVia { device, class: None, slot, measured: None, queue: None };
            bench.object.set_detour(at, via).unwrap();
        }
    });
}

#[test]
fn bare_packets_get_a_header() {
    let bare = [("8.0.0.1", "10.0.0.2", 0x0800_u16), ("fd00:0:86dd::1", "fd00::2", 0x86dd)];
    bench(|bench| {
        let selector = Selector { remote_ports: vec![ports(80, 80)], ..both() };
        bench.arm_one(&rule("it", selector, detour(Loss::Always)), 1);
        set(bench);
        let device = bench.devices[0];
        for (source, destination, ethertype) in bare {
            let sample = Sample::new(source, destination, Kind::Udp, (5000, 80));
            // A test run takes the ethertype from bytes 12 and 13, where these addresses say it.
            let packet = sample.bytes().split_off(14);
            let outcome = bench.send_through("chaos_egress_l3", device, &packet).unwrap();
            assert_eq!(outcome.code, REDIRECT);
            let (header, rest) = outcome.bytes.split_at(14);
            assert_eq!(header[..12], [0; 12]);
            assert_eq!(header[12..], ethertype.to_be_bytes());
            assert_eq!(rest, packet);
        }
    });
}

#[test]
fn what_leaves_for_a_delay_line_is_numbered_while_there_is_room() {
    let bytes = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2)).bytes();
    bench(|bench| {
        bench.arm_one(&rule("it", both(), detour(Loss::Always)), 1);
        set(bench);
        let [device, other] = bench.devices;
        for (slot, hook) in (1..).zip(HOOKS) {
            let via =
                DetourVia { device: other, class: None, slot, measured: Some(0), queue: Some(0) };
            bench.object.set_detour(DetourAt { rule: 0, device, hook }, via).unwrap();
        }
        let all_queues = bench.object.departures().unwrap();
        let (departures, second) = (all_queues.of(0), all_queues.of(1));
        all_queues.limit(5, false);
        let begin = monotonic();
        let mut sent = 0;
        let mut all = |bench: &mut Bench, expected: u64| {
            for _ in 0..20 {
                let hook = HOOKS[sent as usize % 2];
                let outcome = bench.send(hook, device, &bytes);
                if outcome.code == NEXT {
                    assert_eq!(outcome.bytes, bytes);
                    continue;
                }
                // The first tag is in the frame; the second, which names the slot, in the metadata.
                let number = (sent as u16).to_be_bytes();
                let tag = [0x81, 0x00, number[0], number[1]];
                assert_eq!(outcome.bytes, [&bytes[..12], &tag, &bytes[12..]].concat());
                let left = departures.time(sent as u16).unwrap();
                assert!(begin <= left && left <= monotonic());
                sent += 1;
            }
            assert_eq!((sent, departures.sent()), (expected, expected));
        };
        all(bench, 5);
        assert_eq!(failures(bench), 15);
        departures.take();
        all(bench, 6);
        departures.take_all(6);
        all(bench, 11);
        let other_queue =
            DetourVia { device: other, class: None, slot: 3, measured: None, queue: Some(1) };
        let at = DetourAt { rule: 0, device, hook: Hook::Egress };
        bench.object.set_detour(at, other_queue).unwrap();
        for number in 0..8_u8 {
            // It has numbers and room of its own.
            let outcome = bench.send(Hook::Egress, device, &bytes);
            assert_eq!(outcome.code, if number < 5 { REDIRECT } else { NEXT });
            if number < 5 {
                assert_eq!(outcome.bytes[12..16], [0x81, 0x00, 0, number]);
                assert!(second.time(u16::from(number)).is_some_and(|left| begin <= left));
            }
        }
        assert_eq!((departures.sent(), second.sent()), (11, 5));
        let own = DetourVia { slot: 1, measured: Some(0), queue: Some(0), ..other_queue };
        bench.object.set_detour(at, own).unwrap();
        all_queues.limit(0, false);
        all(bench, 31);
        assert_eq!(departures.time(31), None, "nothing was sent with that number");
        let beyond = DetourVia { queue: Some(2), ..own };
        let refused = bench.object.set_detour(at, beyond).unwrap_err().to_string();
        assert!(refused.contains("queues of a delay line"), "{refused}");
    });
}
