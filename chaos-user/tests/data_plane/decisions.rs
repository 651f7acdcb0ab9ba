//! Which of the matching packets are lost: the kernel and the oracle decide alike, bit for bit.

use chaos::plan::{Action, Loss};
use chaos_common::Hook;

use crate::bench::{bench, fewer_if_slow, seed};
use crate::oracle::{NEXT, Oracle, REDIRECT, SHOT};
use crate::packets::{Kind, Sample};
use crate::rules::{both, read, rule};

fn losses() -> Vec<Loss> {
    vec![
        Loss::Always,
        Loss::Random(read("1%")),
        Loss::Random(read("30%")),
        Loss::Random(read("99.9%")),
        Loss::Random(read("100%")),
        Loss::Exact(read("0.1%")),
        Loss::Exact(read("25%")),
        Loss::Exact(read("0.25%")),
        Loss::Exact(read("100%")),
        Loss::EveryNth(1),
        Loss::EveryNth(3),
        Loss::EveryNth(1000),
        Loss::GilbertElliott {
            p: read("5%"),
            r: read("25%"),
            loss_in_bad: read("90%"),
            loss_in_good: read("1%"),
        },
    ]
}

#[test]
fn a_seed_gives_the_same_losses_as_the_oracle() {
    // A whole number of them for every exact share.
    let packets = fewer_if_slow(8000) as usize;
    let seed = seed();
    let packet = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    for (at, loss) in losses().into_iter().enumerate() {
        // A new object each time: decisions count from 0.
        bench(|bench| {
            let rules = [rule("it", both(), Action::Drop(loss))];
            let devices = [Vec::new()];
            let seed = seed.wrapping_add(at as u64);
            bench.arm(&rules, &devices, seed);
            let mut oracle = Oracle::new(&rules, &devices, seed, vec![0]);
            let bytes = packet.bytes();
            for n in 0..packets {
                let hook = if n % 3 == 0 { Hook::Ingress } else { Hook::Egress };
                let expected = oracle.meet(hook, bench.devices[0], &packet);
                let outcome = bench.send(hook, bench.devices[0], &bytes);
                assert_eq!([outcome.code], expected.codes[..], "{loss}, packet {n}, seed {seed}");
            }
            let counters = bench.rule(0);
            assert_eq!(counters.matched, packets as u64);
            assert_eq!(counters.acted, oracle.acted[0]);
            assert_eq!(bench.sequences(1), oracle.sequences);
            if let Loss::Exact(share) = loss {
                let exactly = u64::from(share.ppb()) * packets as u64 / 1_000_000_000;
                assert_eq!(counters.acted, exactly, "{loss}");
            }
        });
    }
}

#[test]
fn losing_is_no_error_at_egress_and_a_drop_at_ingress() {
    let packet = Sample::new("fd01::1", "fd02::2", Kind::Udp, (1, 2)).bytes();
    bench(|bench| {
        bench.arm_one(&rule("it", both(), Action::Drop(Loss::Always)), 1);
        let device = bench.devices[0];
        assert_eq!(bench.send(Hook::Egress, device, &packet).code, REDIRECT);
        assert_eq!(bench.send(Hook::Ingress, device, &packet).code, SHOT);
        bench.object.disarm();
        assert_eq!(bench.send(Hook::Egress, device, &packet).code, NEXT);
        assert_eq!(bench.send(Hook::Ingress, device, &packet).code, NEXT);
    });
}

#[test]
fn decisions_go_on_across_a_flip() {
    let seed = seed();
    let packet = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    bench(|bench| {
        let rules = [rule("it", both(), Action::Drop(Loss::Random(read("40%"))))];
        let devices = [Vec::new()];
        let mut oracle = Oracle::new(&rules, &devices, seed, vec![0]);
        for flips in 0..5 {
            bench.arm(&rules, &devices, seed);
            for _ in 0..100 {
                let expected = oracle.meet(Hook::Egress, bench.devices[0], &packet);
                let outcome = bench.send(Hook::Egress, bench.devices[0], &packet.bytes());
                assert_eq!([outcome.code], expected.codes[..], "after {flips} flips");
            }
        }
    });
}
