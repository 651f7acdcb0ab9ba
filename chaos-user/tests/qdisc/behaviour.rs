//! What netem does to packets, seen on the loopback. Needs sch_netem.

use std::time::Duration;

use chaos::kernel::netlink::qdisc::{Distribution, Handle, Loss, Netem, Place, Probability};

use crate::support::{Bench, LOOPBACK, has, skip};
use crate::udp::{ATTEMPTS, Pipe};

#[test]
fn packets_arrive_late() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("packets_arrive_late", "netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        for latency in [20, 100].map(Duration::from_millis) {
            tc.replace(place, &Netem::delay(latency).into()).unwrap();
            let timely = (0..ATTEMPTS).any(|_| {
                let mut times = Pipe::new(0).latencies(20, Duration::from_millis(2));
                times.sort();
                assert_eq!(times.len(), 20);
                assert!(times[0] >= latency, "{times:?}");
                println!("{latency:?}: least {:?}, median {:?}", times[0], times[10]);
                times[0] < latency + Duration::from_millis(10)
            });
            assert!(timely, "{latency:?}");
        }
    });
}

#[test]
fn delays_follow_the_distribution() {
    const COUNT: usize = 1000;
    const MEAN_MS: f64 = 300.0;
    const JITTER_MS: f64 = 100.0;
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("delays_follow_the_distribution", "netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        // Passed by chance once in 1000 runs (Kolmogorov-Smirnov).
        let bound = 1.95 / (COUNT as f64).sqrt();
        for distribution in [
            Distribution::Uniform,
            Distribution::Normal,
            Distribution::Pareto,
            Distribution::ParetoNormal,
        ] {
            let mut netem = Netem::delay(Duration::from_secs_f64(MEAN_MS / 1000.0));
            netem.jitter = Duration::from_secs_f64(JITTER_MS / 1000.0);
            netem.distribution = distribution.clone();
            tc.replace(place, &netem.into()).unwrap();
            let mut expected: Vec<f64> = (distribution.table().entries().iter())
                .map(|entry| MEAN_MS + JITTER_MS * f64::from(*entry) / 8192.0)
                .collect();
            expected.sort_by(f64::total_cmp);
            let fits = (0..ATTEMPTS).any(|_| {
                let times = Pipe::new(0).latencies(COUNT, Duration::from_millis(1));
                assert_eq!(times.len(), COUNT);
                let distance = distance(&times, &expected);
                println!("{distribution:?}: Kolmogorov-Smirnov {distance:.4}, bound {bound:.4}");
                distance < bound
            });
            assert!(fits, "{distribution:?}");
        }
    });
}

/// The largest difference between the share of measured and of expected delays (in ms, sorted) that
/// are below a value. What the guest itself adds, up to 10 ms, is not held against a delay.
fn distance(times: &[Duration], expected: &[f64]) -> f64 {
    const GUEST_MS: f64 = 10.0;
    let mut got: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    got.sort_by(f64::total_cmp);
    let share = |of: &[f64], value: f64| {
        of.partition_point(|other| *other <= value) as f64 / of.len() as f64
    };
    expected
        .iter()
        .step_by(32)
        .map(|value| {
            let wanted = share(expected, *value);
            (wanted - share(&got, value + GUEST_MS)).max(share(&got, *value) - wanted)
        })
        .fold(0.0, f64::max)
}

#[test]
fn loss_is_as_likely_as_asked_for() {
    const COUNT: usize = 4000;
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("loss_is_as_likely_as_asked_for", "netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        let mut netem = Netem::default();
        netem.loss = Loss::random(Probability::from_percent(30.0).unwrap());
        tc.add(place, &netem.into()).unwrap();
        let arrived = Pipe::new(0).arrivals(COUNT).len();
        let lost = (COUNT - arrived) as f64;
        let (mean, sigma) = (COUNT as f64 * 0.3, (COUNT as f64 * 0.3 * 0.7).sqrt());
        println!("{lost} of {COUNT} lost, expected {mean} ± {sigma:.1}");
        assert!((lost - mean).abs() < 4.0 * sigma, "{lost} lost, expected {mean} ± {sigma}");
        let record = tc.qdiscs(LOOPBACK).unwrap().remove(0);
        assert_eq!(record.counters.drops as usize, COUNT - arrived, "the counters are evidence");
    });
}

#[test]
fn a_seed_repeats_the_losses() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("a_seed_repeats_the_losses", "netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        let mut netem = Netem::default();
        netem.loss = Loss::random(Probability::from_percent(50.0).unwrap());
        let mut pattern = |seed| {
            netem.seed = Some(seed);
            let applied = tc.add(place, &netem.clone().into()).unwrap();
            let arrived = Pipe::new(0).arrivals(200);
            tc.delete(place).unwrap();
            (applied.unconfirmed.is_empty(), arrived)
        };
        let (seeded, first) = pattern(7);
        if !seeded {
            return skip("a_seed_repeats_the_losses", "netem-seed");
        }
        assert_eq!(pattern(7).1, first);
        assert_ne!(pattern(8).1, first);
    });
}
