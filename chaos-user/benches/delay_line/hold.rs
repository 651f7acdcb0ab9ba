//! How far delays are from what was asked for, one way, by the receiving kernel's timestamps.

use std::net::{SocketAddr, UdpSocket};

use chaos::kernel::delay_line::Config;

use crate::bed::{Bed, Direction, Family, NEAR, latency, slot};
use crate::one_way::{self, timer_lateness};
use crate::sample::Sample;

const FAULTY: u16 = 9000;
const PLAIN: u16 = 9001;
const ROUNDS: usize = 5;

pub(crate) fn run() {
    println!("hold error: one way, minus the configured delay, minus the plain median");
    println!("(timerfd: how late a thread wakes that does nothing but wait for a timer as often)");
    // (delay in ms, packets per second, packets per round)
    for (millis, rate, count) in [
        (0.1, 100, 100),
        (0.1, 1_000, 500),
        (1.0, 100, 100),
        (1.0, 1_000, 500),
        (1.0, 10_000, 4_000),
        (10.0, 1_000, 500),
        (10.0, 10_000, 4_000),
        (100.0, 1_000, 500),
        (2_000.0, 1_000, 500),
    ] {
        let (mut line, mut plain, mut timer) =
            (Sample::default(), Sample::default(), Sample::default());
        let mut bed = Bed::new(&Config::default());
        bed.catch(NEAR, Direction::Egress);
        bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, latency(millis));
        for _ in 0..ROUNDS {
            plain.extend(one_way(&bed, PLAIN, rate, count));
            line.extend(one_way(&bed, FAULTY, rate, count));
            timer.extend(timer_lateness(rate, count));
        }
        let correction = (millis * 1_000_000.0) as i64 + (plain.quantile(0.5) * 1000.0) as i64;
        let mut error = Sample::default();
        error.extend(line.values().map(|nanos| nanos - correction));
        let (error, timer) = (error.summary(), timer.summary());
        println!("\n{millis} ms at {rate}/s");
        println!("  plain   {}", plain.summary());
        println!("  error   {error}");
        println!("  timerfd {timer}");
        println!(
            "  p50 {:.1} µs (aim 30)   p99 / timerfd's {:.2} (aim 1.2)",
            error.p50,
            error.p99 / timer.p99
        );
        let evidence = bed.line().evidence(slot(1)).unwrap().unwrap();
        println!(
            "  lateness by the line itself: p50 {:?} p99 {:?} max {:?}, {} of {} late, {:?}",
            evidence.lateness.quantile(0.5).unwrap(),
            evidence.lateness.quantile(0.99).unwrap(),
            evidence.lateness.max().unwrap(),
            evidence.counters.late,
            evidence.counters.released,
            bed.line().status().unwrap().scheduling,
        );
    }
}

/// Through one port of the bed.
fn one_way(bed: &Bed, port: u16, rate: u64, count: usize) -> Vec<i64> {
    let at = SocketAddr::new(Family::V4.far(), port);
    let receiver = bed.far.run(|| UdpSocket::bind(at).unwrap()).unwrap();
    let sender = bed.near.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect(at).unwrap();
    one_way::one_way(&sender, receiver, rate, count)
}
