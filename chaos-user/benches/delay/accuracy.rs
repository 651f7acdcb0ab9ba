//! How far delays are from what was asked for: measured, minus configured, minus what the link
//! takes without a fault.

use chaos::experiment::units::{Protocol, Span};
use chaos::fault::Active;
use chaos::plan::Impairment;

use crate::Options;
use crate::link::Link;
use crate::one_way::{one_way, timer_lateness};
use crate::peer::{Peer, ROOT};
use crate::product::{backends, hold, sockets};
use crate::sample::{Sample, Summary};

const ROUNDS: usize = 3;
const PLAIN: u16 = 9000;
const HELD: u16 = 9001;
/// In µs.
pub(crate) const DELAYS: [u64; 5] = [100, 1_000, 10_000, 100_000, 2_000_000];
/// Packets per second.
pub(crate) const RATES: [u64; 3] = [100, 1_000, 10_000];
/// Aims: a detour by netem is as good as root netem, the line is within 30 µs, and is as prompt as
/// a thread that waits for a timer.
const AIM_OVER_PEER: f64 = 1.2;
const AIM_MEDIAN: f64 = 30.0;

pub(crate) fn run(options: &Options) {
    println!("delay error: one way, minus the configured delay, minus the plain median");
    println!("(timerfd: how late a thread wakes that does nothing but wait for a timer as often)");
    let plain = Link::up().unwrap();
    // One link for each, so that every packet meets what it is about and nothing else.
    let ours: Vec<(String, Link, Active)> = backends()
        .into_iter()
        .map(|backend| {
            let held = options.delays.iter().zip(HELD..).map(|(micros, port)| {
                let latency = Span::from_nanos(micros * 1000);
                (port, Impairment { latency, ..Impairment::default() })
            });
            let link = Link::up().unwrap();
            let active = hold(&link, backend, Protocol::UDP, &held.collect::<Vec<_>>());
            (backend.to_string(), link, active)
        })
        .collect();
    let peers = Peer::all(HELD, options.peers);
    for (&micros, port) in options.delays.iter().zip(HELD..) {
        for peer in &peers {
            peer.delay(micros);
        }
        let mut paths: Vec<(&str, &Link, u16)> = vec![("plain", &plain, PLAIN)];
        paths.extend(ours.iter().map(|(name, link, _)| (name.as_str(), link, port)));
        paths.extend(peers.iter().map(|peer| (peer.name, &peer.link, HELD)));
        for &rate in &options.rates {
            measure(micros, rate, &paths);
        }
    }
    for (name, _, active) in ours {
        for delay in active.delays().unwrap() {
            println!("{name}, {delay}");
        }
        active.heal().unwrap();
    }
}

fn measure(micros: u64, rate: u64, paths: &[(&str, &Link, u16)]) {
    let count = (rate / 3).clamp(100, 2_000) as usize;
    let mut samples: Vec<Sample> = paths.iter().map(|_| Sample::default()).collect();
    let mut timer = Sample::default();
    for _ in 0..ROUNDS {
        for ((_, link, port), sample) in paths.iter().zip(&mut samples) {
            let (sender, receiver) = sockets(link, *port);
            sample.extend(one_way(&sender, receiver, rate, count));
        }
        timer.extend(timer_lateness(rate, count));
    }
    println!("\n{} ms at {rate}/s", micros as f64 / 1000.0);
    let plain = samples[0].quantile(0.5);
    let mut errors: Vec<(&str, Summary)> = Vec::new();
    for ((name, _, _), mut sample) in paths.iter().zip(samples) {
        if *name == "plain" {
            println!("  {name:<14} {}", sample.summary());
            continue;
        }
        let configured = micros.cast_signed() * 1000 + (plain * 1000.0) as i64;
        let mut error = Sample::default();
        error.extend(sample.values().map(|nanos| nanos - configured));
        let error = error.summary();
        println!("  {name:<14} {error}");
        errors.push((name, error));
    }
    let timer = timer.summary();
    println!("  {:<14} {timer}", "timerfd");
    let of = |wanted: &str| errors.iter().find(|(name, _)| *name == wanted).map(|(_, error)| error);
    if let (Some(netem), Some(root)) = (of("netem"), of(ROOT)) {
        let ratio = |of: fn(&Summary) -> f64| of(netem) / of(root);
        println!(
            "  netem detour / root netem: mean {:.2}, p50 {:.2}, p99 {:.2} (aim {AIM_OVER_PEER})",
            ratio(|one| one.mean),
            ratio(|one| one.p50),
            ratio(|one| one.p99)
        );
    }
    if let Some(line) = of("delay-line") {
        println!(
            "  delay line: p50 {:.1} µs (aim {AIM_MEDIAN}), p99 / timerfd's {:.2} (aim {AIM_OVER_PEER})",
            line.p50,
            line.p99 / timer.p99
        );
    }
}
