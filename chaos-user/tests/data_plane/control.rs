//! What decides whether anything happens at all: arming, the lease, time windows, banks,
//! protection, and the limit of rules per packet.

use chaos::experiment::units::Prefix;
use chaos::host::boot_time;
use chaos::plan::{Action, Answer, Request, Rule, Selector};
use chaos_common::Hook;
use chaos_common::counter::HookCounters;

use crate::bench::bench;
use crate::oracle::{NEXT, REDIRECT};
use crate::packets::{Kind, Sample};
use crate::rules::{DROP, both, ports, read, reject, rule};

fn packet() -> Vec<u8> {
    Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (5000, 53)).bytes()
}

#[test]
fn disarmed_looks_at_nothing() {
    bench(|bench| {
        let device = bench.devices[0];
        assert_eq!(bench.send(Hook::Egress, device, &packet()).code, NEXT);
        assert_eq!(bench.hook(Hook::Egress), HookCounters::ZERO);
        bench.arm_one(&rule("it", both(), DROP), 1);
        assert_eq!(bench.send(Hook::Egress, device, &packet()).code, REDIRECT);
        assert_eq!(bench.hook(Hook::Egress).seen, 1);
        bench.object.lease().disarm();
        assert_eq!(bench.send(Hook::Egress, device, &packet()).code, NEXT);
        assert_eq!(bench.hook(Hook::Egress).seen, 1);
    });
}

#[test]
fn a_stale_lease_makes_rules_inert_until_it_is_extended() {
    bench(|bench| {
        let device = bench.devices[0];
        for action in [DROP, reject(Answer::Auto)] {
            bench.arm_one(&rule("it", both(), action), 1);
            for (until, hit) in [(0, false), (boot_time(), false), (u64::MAX, true)] {
                bench.object.lease().extend(until);
                let before = (bench.rule(0).matched, bench.hook(Hook::Egress).lease_expired);
                let code = bench.send(Hook::Egress, device, &packet()).code;
                assert_eq!(code != NEXT, hit);
                let after = (bench.rule(0).matched, bench.hook(Hook::Egress).lease_expired);
                let hit = u64::from(hit);
                assert_eq!((after.0 - before.0, after.1 - before.1), (hit, 1 - hit));
            }
        }
    });
}

#[test]
fn rules_act_inside_their_time_window_only() {
    const LONG: u64 = 3_600_000_000_000;
    const SHORT: u64 = 500_000_000;
    bench(|bench| {
        let device = bench.devices[0];
        let rules = [rule("it", both(), DROP)];
        let devices = [Vec::new()];
        let now = boot_time();
        for (from, until, hit) in [
            (now + LONG, now + 2 * LONG, false),
            (0, now, false),
            (0, 0, false),
            (now, now + LONG, true),
            (0, u64::MAX, true),
        ] {
            bench.arm_between(&rules, &devices, 1, from, until);
            let before = bench.rule(0).matched;
            assert_eq!(bench.send(Hook::Egress, device, &packet()).code != NEXT, hit);
            assert_eq!(bench.rule(0).matched - before, u64::from(hit));
        }
        // The same cached flow before, inside and after the window.
        let start = boot_time() + SHORT;
        bench.arm_between(&rules, &devices, 1, start, start + SHORT);
        let mut hits = Vec::new();
        while boot_time() < start + 2 * SHORT {
            let before = boot_time();
            let hit = bench.send(Hook::Egress, device, &packet()).code != NEXT;
            let after = boot_time();
            if after < start || before >= start + SHORT {
                assert!(!hit, "outside the window");
            } else if before >= start && after < start + SHORT {
                assert!(hit, "inside the window");
            }
            hits.push(hit);
        }
        hits.dedup();
        assert_eq!(hits, [false, true, false]);
    });
}

#[test]
fn a_flip_takes_effect_at_once_although_flows_are_cached() {
    bench(|bench| {
        let device = bench.devices[0];
        let other = Selector { remote_ports: vec![ports(54, 54)], ..both() };
        let rules = [rule("hit", both(), DROP), rule("miss", other, DROP)];
        for round in 0..6 {
            let hit = round % 2 == 0;
            bench.arm_one(&rules[usize::from(!hit)], 1);
            let before = bench.hook(Hook::Egress);
            for _ in 0..3 {
                assert_eq!(bench.send(Hook::Egress, device, &packet()).code != NEXT, hit);
            }
            let after = bench.hook(Hook::Egress);
            assert_eq!(after.seen - before.seen, 3);
            assert_eq!(after.misses - before.misses, 1, "the other two are cached");
        }
    });
}

#[test]
fn protection_silences_every_other_rule() {
    let protect =
        Selector { local_ports: vec![ports(5000, 5000)], remote: vec![read("10.0.0.2")], ..both() };
    for action in [DROP, reject(Answer::Auto)] {
        for at in [0, 1] {
            bench(|bench| {
                let mut rules = vec![rule("it", both(), action.clone())];
                rules.insert(at, rule("protect", protect.clone(), Action::Protect));
                // Protection knows no time window.
                let now = boot_time();
                bench.arm_between(&rules, &[Vec::new(), Vec::new()], 1, now, now + 60_000_000_000);
                let device = bench.devices[0];
                let back = Sample::new("10.0.0.2", "10.0.0.1", Kind::Udp, (53, 5000)).bytes();
                assert_eq!(bench.send(Hook::Egress, device, &packet()).code, NEXT);
                assert_eq!(bench.send(Hook::Ingress, device, &back).code, NEXT);
                assert_eq!(bench.rule(1 - at).matched, 0);
                let other = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (5001, 53)).bytes();
                assert_eq!(bench.send(Hook::Egress, device, &other).code, REDIRECT);
            });
        }
    }
}

/// Rules that all choose [`packet`], each through a mask of its own.
fn overlapping(count: u8) -> Vec<Rule> {
    (0..count)
        .map(|i| {
            let prefix = Prefix::network("10.0.0.2".parse().unwrap(), 8 + i);
            rule(&format!("{i}"), Selector { remote: vec![prefix], ..both() }, DROP)
        })
        .collect()
}

#[test]
fn rules_beyond_the_eighth_do_nothing_and_are_counted() {
    bench(|bench| {
        let device = bench.devices[0];
        for count in [8_u8, 9, 20] {
            let rules = overlapping(count);
            bench.arm(&rules, &vec![Vec::new(); rules.len()], 1);
            let before: u64 = (0..rules.len()).map(|slot| bench.rule(slot).matched).sum();
            let overflow = bench.hook(Hook::Egress).overflow;
            assert_eq!(bench.send(Hook::Egress, device, &packet()).code, REDIRECT);
            let after: u64 = (0..rules.len()).map(|slot| bench.rule(slot).matched).sum();
            assert_eq!(after - before, 8);
            let counted = bench.hook(Hook::Egress).overflow - overflow;
            assert_eq!(counted, u64::from(count > 8), "{count} rules");
        }
    });
}

#[test]
fn protection_holds_however_many_rules_overlap() {
    bench(|bench| {
        let device = bench.devices[0];
        for at in [0, 5, 20] {
            let mut rules = overlapping(20);
            let selector = Selector { local_ports: vec![ports(5000, 5000)], ..both() };
            rules.insert(at, rule("protect", selector, Action::Protect));
            bench.arm(&rules, &vec![Vec::new(); rules.len()], 1);
            assert_eq!(bench.send(Hook::Egress, device, &packet()).code, NEXT, "rule {at}");
        }
    });
}

#[test]
fn overlapping_values_of_one_part_are_one_match() {
    let selector = Selector {
        remote: vec![read("10.0.0.0/8"), read("10.0.0.0/30"), read("10.0.0.2")],
        remote_ports: vec![ports(1, 100), ports(50, 60), ports(53, 53)],
        ..both()
    };
    bench(|bench| {
        bench.arm_one(&rule("it", selector, DROP), 1);
        for sent in 1..=3 {
            bench.send(Hook::Egress, bench.devices[0], &packet());
            assert_eq!(bench.rule(0).matched, sent);
        }
    });
}

#[test]
fn tagged_packets_are_left_to_the_vlan_device_when_that_is_attached() {
    let mut tagged = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (5000, 53));
    tagged.tags = 1;
    bench(|bench| {
        let device = bench.devices[0];
        let rules = [rule("it", both(), DROP)];
        for skip_tagged in [true, false] {
            let (not_before, not_after) = (0, u64::MAX);
            let devices = &[Vec::new()];
            let request =
                Request { rules: &rules, devices, not_before, not_after, seed: 1, skip_tagged };
            bench.install(&request);
            let hit = bench.send(Hook::Egress, device, &tagged.bytes()).code != NEXT;
            assert_eq!(hit, !skip_tagged);
            assert_ne!(bench.send(Hook::Egress, device, &packet()).code, NEXT);
        }
    });
}
