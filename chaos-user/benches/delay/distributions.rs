//! Whether delays are spread as was asked for: a Kolmogorov-Smirnov test.

use chaos::experiment::units::{Protocol, Span};
use chaos::kernel::netlink::qdisc::{Distribution, DistributionTable};
use chaos::plan::Impairment;

use crate::link::Link;
use crate::one_way::one_way;
use crate::product::{backends, hold, sockets};
use crate::sample::Sample;

const PLAIN: u16 = 9200;
const HELD: u16 = 9201;
const PACKETS: usize = 2_000;
const RATE: u64 = 1_000;
const LATENCY: Span = Span::from_ms(60);
const JITTER: Span = Span::from_ms(10);
/// Entries of a table per jitter.
const SCALE: f64 = 8192.0;

pub(crate) fn run() {
    // One sample in a hundred from the very distribution would be further away.
    let critical = 1.628 / (PACKETS as f64).sqrt();
    println!("\ndistributions: latency {LATENCY}, jitter {JITTER}, {PACKETS} packets");
    println!(
        "(D is the largest distance of the distribution functions; critical at 1 %: {critical:.4})"
    );
    let two_humps = Distribution::Custom(DistributionTable::new(two_humps_table()).unwrap());
    let shapes: [(&str, Distribution, Function); 5] = [
        ("uniform", Distribution::Uniform, |_, stray| f64::midpoint(stray, 1.0).clamp(0.0, 1.0)),
        ("normal", Distribution::Normal, |_, stray| normal(stray)),
        ("pareto", Distribution::Pareto, below),
        ("pareto-normal", Distribution::ParetoNormal, below),
        ("table", two_humps, |_, stray| two_humps_below(stray)),
    ];
    for backend in backends() {
        let link = Link::up().unwrap();
        let impairment = |distribution: &Distribution| Impairment {
            latency: LATENCY,
            jitter: JITTER,
            distribution: distribution.clone(),
            ..Impairment::default()
        };
        let held: Vec<_> =
            (HELD..).zip(shapes.iter().map(|(_, shape, _)| impairment(shape))).collect();
        let active = hold(&link, backend, Protocol::UDP, &held);
        let mut plain = Sample::default();
        let (sender, receiver) = sockets(&link, PLAIN);
        plain.extend(one_way(&sender, receiver, RATE, PACKETS));
        let plain = plain.quantile(0.5) * 1000.0;
        for ((port, _), (name, shape, function)) in held.iter().zip(&shapes) {
            let (sender, receiver) = sockets(&link, *port);
            let measured = one_way(&sender, receiver, RATE, PACKETS);
            // In jitters from the latency.
            let mut strays: Vec<f64> = measured
                .iter()
                .map(|&nanos| nanos as f64 - plain - LATENCY.nanos() as f64)
                .map(|nanos| nanos / JITTER.nanos() as f64)
                .collect();
            let table = shape.table();
            let distance = distance(&mut strays, |stray| function(&table, stray));
            let verdict = if distance <= critical { "fits" } else { "DIFFERS" };
            println!("  {:<10} {name:<14} D {distance:.4}  {verdict}", backend.to_string());
        }
        active.heal().unwrap();
    }
}

/// Of the distribution function of a sample from a given one.
fn distance(sample: &mut [f64], function: impl Fn(f64) -> f64) -> f64 {
    sample.sort_unstable_by(f64::total_cmp);
    let n = sample.len() as f64;
    let steps = sample.iter().enumerate().map(|(below, &value)| {
        let wanted = function(value);
        let (before, after) = (below as f64 / n, (below + 1) as f64 / n);
        (wanted - before).abs().max((wanted - after).abs())
    });
    steps.fold(0.0, f64::max)
}

/// The share of delays that should stray less far, by formula where there is one; what is called Pareto
/// is cut off, and scaled, and so is what its table says.
type Function = fn(&DistributionTable, f64) -> f64;

fn below(table: &DistributionTable, stray: f64) -> f64 {
    let entries = table.entries();
    let smaller = entries.iter().filter(|&&entry| f64::from(entry) <= stray * SCALE).count();
    smaller as f64 / entries.len() as f64
}

/// A table of a user's own: half of the delays are a half to one and a half jitters short, the others as
/// much too long, and none is between.
fn two_humps_table() -> Vec<i16> {
    const ENTRIES: usize = 4096;
    let quantile = |entry: usize| {
        let share = (entry as f64 + 0.5) / ENTRIES as f64;
        2.0 * share + if share < 0.5 { -1.5 } else { -0.5 }
    };
    (0..ENTRIES).map(|entry| (quantile(entry) * SCALE) as i16).collect()
}

fn two_humps_below(stray: f64) -> f64 {
    f64::midpoint((stray + 1.5).clamp(0.0, 1.0), (stray - 0.5).clamp(0.0, 1.0))
}

/// The normal distribution function, to seven digits (Abramowitz and Stegun 26.2.17).
fn normal(x: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(x.abs(), 1.0);
    let weights = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = weights.iter().rev().fold(0.0, |sum, weight| (sum + weight) * t);
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * sum;
    if x < 0.0 { tail } else { 1.0 - tail }
}
