//! What must never be touched, and what only looks like that.

use chaos::plan::{Answer, Selector};
use chaos_common::Hook;
use proptest::prelude::{any, prop};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::bench::{Bench, LOOPBACK, bench, seed};
use crate::oracle::NEXT;
use crate::packets::{Extension, Kind, Sample, shapes};
use crate::rules::{DROP, both, ports, reject, rule};

const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];

fn assert_untouched(bench: &mut Bench, packet: &[u8], what: &str) {
    for hook in HOOKS {
        let (rule, counters) = (bench.rule(0), bench.hook(hook));
        let outcome = bench.send(hook, bench.devices[0], packet);
        assert_eq!((outcome.code, outcome.bytes.as_slice()), (NEXT, packet), "{what}");
        assert_eq!(bench.rule(0), rule, "{what}");
        let after = bench.hook(hook);
        assert_eq!((after.exempt, after.seen), (counters.exempt + 1, counters.seen), "{what}");
    }
}

#[test]
fn neighbours_are_always_found() {
    bench(|bench| {
        for action in [DROP, reject(Answer::Auto)] {
            bench.arm_one(&rule("it", both(), action), 1);
            let mut arp = vec![0xff; 12];
            arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            arp.extend([0; 20]);
            assert_untouched(bench, &arp, "ARP");
            for kind in 133..=137 {
                let mut packet = Sample::new("fe80::1", "ff02::1", Kind::Neighbour, (0, 0)).bytes();
                packet[14 + 40] = kind;
                assert_untouched(bench, &packet, &format!("ICMPv6 type {kind}"));
            }
        }
    });
}

#[test]
fn truncated_at_every_length() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), DROP), 1);
        let mut refused = 0;
        for sample in shapes() {
            let (whole, headers) = (sample.bytes(), sample.headers());
            for length in 14..=whole.len().min(headers + 40) {
                for (hook, program) in
                    [(Hook::Egress, "chaos_egress"), (Hook::Ingress, "chaos_ingress")]
                {
                    let before = bench.rule(0).matched;
                    let device = bench.devices[0];
                    let Some(outcome) = bench.send_through(program, device, &whole[..length])
                    else {
                        refused += 1;
                        continue;
                    };
                    let complete = length >= headers + sample.needed();
                    let touched = outcome.code != NEXT;
                    assert_eq!(touched, complete, "{length} bytes of {sample:?} at {hook:?}");
                    assert_eq!(bench.rule(0).matched - before, u64::from(touched));
                }
            }
        }
        println!("{refused} runs refused by the kernel as too short for their ethertype");
    });
}

#[test]
fn six_extension_headers_are_followed_and_seven_are_not() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), DROP), 1);
        for count in 0..=7 {
            let mut sample = Sample::new("fd01::1", "fd02::2", Kind::Udp, (1, 2));
            sample.extensions = vec![Extension::Destination; count];
            let touched = bench.send(Hook::Egress, bench.devices[0], &sample.bytes()).code != NEXT;
            assert_eq!(touched, count <= 6, "{count} extension headers");
        }
    });
}

#[test]
fn a_v4_packet_too_long_for_its_length_field_is_a_packet() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), DROP), 1);
        // As Linux sends GSO packets beyond 64 KiB.
        let mut packet = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2)).bytes();
        packet[16..18].fill(0);
        assert_ne!(bench.send(Hook::Egress, bench.devices[0], &packet).code, NEXT);
        packet[17] = 19;
        assert_untouched(bench, &packet, "a length within the header");
    });
}

#[test]
fn wrong_versions_and_header_lengths() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), DROP), 1);
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd01::1", "fd02::2")] {
            let packet = Sample::new(source, destination, Kind::Udp, (1, 2)).bytes();
            for first in 0..=255u8 {
                let mut packet = packet.clone();
                packet[14] = first;
                let sound = if source.contains('.') {
                    // Longer headers than the packet has bytes for are cut short, too.
                    first >> 4 == 4 && (5..=11).contains(&(first & 15))
                } else {
                    first >> 4 == 6
                };
                let touched = bench.send(Hook::Egress, bench.devices[0], &packet).code != NEXT;
                assert_eq!(touched, sound, "first byte {first:#x} of {source}");
            }
        }
    });
}

#[test]
fn garbage_is_survived() {
    let seed = seed();
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_ne_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases: 4000, failure_persistence: None, ..Config::default() };
    bench(|bench| {
        let named = Selector { remote_ports: vec![ports(1, 32_767)], ..both() };
        let rules =
            [rule("drop", named, DROP), rule("reject", both(), reject(Answer::PortUnreachable))];
        bench.arm(&rules, &[Vec::new(), Vec::new()], seed);
        let device = bench.devices[0];
        let bench = std::cell::RefCell::new(bench);
        let types = [0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x0806, 0xffff];
        let strategy = (
            prop::collection::vec(any::<u8>(), 14..200),
            prop::sample::select(types.to_vec()),
            any::<(bool, bool)>(),
        );
        TestRunner::new_with_rng(config, rng)
            .run(&strategy, |(mut packet, ethertype, (loopback, version))| {
                packet[12..14].copy_from_slice(&ethertype.to_be_bytes());
                if version && packet.len() > 14 {
                    packet[14] = if ethertype == 0x0800 { 0x45 } else { 0x60 };
                }
                let device = if loopback { LOOPBACK } else { device };
                let mut bench = bench.borrow_mut();
                for program in ["chaos_egress", "chaos_ingress"] {
                    let Some(outcome) = bench.send_through(program, device, &packet) else {
                        continue;
                    };
                    assert!([NEXT, 2, 7].contains(&outcome.code), "{}", outcome.code);
                    if outcome.code == NEXT && !loopback {
                        assert_eq!(outcome.bytes, packet);
                    }
                }
                Ok(())
            })
            .unwrap();
    });
}
