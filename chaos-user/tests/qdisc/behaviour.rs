//! What netem does to packets, seen on the loopback. Needs sch_netem.

use std::time::Duration;

use chaos::kernel::netlink::qdisc::{Distribution, Handle, Loss, Netem, Place, Probability};

use crate::support::{Bench, LOOPBACK, has, skip};
use crate::udp::Pipe;

#[test]
fn packets_arrive_late() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("packets_arrive_late", "sch_netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        for latency in [20, 100].map(Duration::from_millis) {
            tc.replace(place, &Netem::delay(latency).into()).unwrap();
            let pipe = Pipe::new(0);
            let mut times = pipe.latencies(20, Duration::from_millis(2));
            times.sort();
            assert_eq!(times.len(), 20);
            assert!(times[0] >= latency, "{times:?}");
            let median = times[10];
            assert!(median < latency + Duration::from_millis(10), "{median:?} for {latency:?}");
        }
    });
}

#[test]
fn delays_follow_the_distribution() {
    const COUNT: usize = 1000;
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("delays_follow_the_distribution", "sch_netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        for distribution in [
            Distribution::Uniform,
            Distribution::Normal,
            Distribution::Pareto,
            Distribution::ParetoNormal,
        ] {
            let mut netem = Netem::delay(Duration::from_millis(100));
            netem.jitter = Duration::from_millis(20);
            netem.distribution = distribution.clone();
            tc.replace(place, &netem.into()).unwrap();
            let times = Pipe::new(0).latencies(COUNT, Duration::from_millis(1));
            assert_eq!(times.len(), COUNT);
            let mut got: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1000.0).collect();
            got.sort_by(f64::total_cmp);
            let table = distribution.table();
            let expected = |p: f64| {
                let entries = table.entries();
                let index = ((p * entries.len() as f64) as usize).min(entries.len() - 1);
                100.0 + 20.0 * f64::from(entries[index]) / 8192.0
            };
            // Kolmogorov-Smirnov: the largest distance of the two distribution functions, here
            // measured along the probabilities. 1.95/√n is passed by chance once in 1000 runs; the
            // guest's own delays add to the shortest ones.
            let distance = (1..20)
                .map(|i| {
                    let p = f64::from(i) / 20.0;
                    let below = got.iter().filter(|time| **time <= expected(p) + 1.0).count();
                    let above = got.iter().filter(|time| **time <= expected(p)).count();
                    let share = |count: usize| count as f64 / COUNT as f64;
                    (p - share(below)).max(share(above) - p)
                })
                .fold(0.0, f64::max);
            let bound = 1.95 / (COUNT as f64).sqrt();
            assert!(distance < bound, "{distribution:?}: distance {distance} of {bound}");
        }
    });
}

#[test]
fn loss_is_as_likely_as_asked_for() {
    const COUNT: usize = 4000;
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("loss_is_as_likely_as_asked_for", "sch_netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        let mut netem = Netem::default();
        netem.loss = Loss::random(Probability::from_percent(30.0).unwrap());
        tc.add(place, &netem.into()).unwrap();
        let arrived = Pipe::new(0).arrivals(COUNT).len();
        let lost = (COUNT - arrived) as f64;
        let (mean, sigma) = (COUNT as f64 * 0.3, (COUNT as f64 * 0.3 * 0.7).sqrt());
        assert!((lost - mean).abs() < 4.0 * sigma, "{lost} lost, expected {mean} ± {sigma}");
        let record = tc.qdiscs(LOOPBACK).unwrap().remove(0);
        assert_eq!(record.counters.drops as usize, COUNT - arrived, "the counters are evidence");
    });
}

#[test]
fn a_seed_repeats_the_losses() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("a_seed_repeats_the_losses", "sch_netem");
        }
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        let mut netem = Netem::default();
        netem.loss = Loss::random(Probability::from_percent(50.0).unwrap());
        netem.seed = Some(7);
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
