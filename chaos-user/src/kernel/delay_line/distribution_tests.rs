use super::super::random::{Draws, Purpose};
use super::Distribution;
use crate::kernel::netlink::qdisc::DistributionTable;

const JITTER: u64 = 5_000_000;
const DRAWS: usize = 20_000;

fn seed() -> u64 {
    let given = std::env::var("CHAOS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(20_261_123);
    println!("CHAOS_TEST_SEED={seed}");
    seed
}

fn sample(distribution: &Distribution) -> Vec<f64> {
    let mut draws = Draws::new(seed(), 5, Purpose::Delay, 0.0);
    (0..DRAWS).map(|_| distribution.offset(JITTER, draws.draw()) as f64 / JITTER as f64).collect()
}

fn table(quantile: impl Fn(f64) -> f64, entries: usize) -> Distribution {
    let entry = |i: usize| (quantile((i as f64 + 0.5) / entries as f64) * 8192.0).round() as i16;
    Distribution::Table((0..entries).map(entry).collect())
}

/// Largest distance between the sample and the distribution function.
fn kolmogorov_smirnov(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let gap = |(i, x): (usize, &f64)| {
        let p = cdf(*x);
        (p - i as f64 / n).abs().max(((i + 1) as f64 / n - p).abs())
    };
    sample.iter().enumerate().map(gap).fold(0.0, f64::max)
}

/// The critical distance at a significance of 0.001.
fn critical() -> f64 {
    1.95 / (DRAWS as f64).sqrt()
}

/// Shape 3, mean 0, deviation 1.
fn pareto_quantile(p: f64) -> f64 {
    ((1.0 - p).powf(-1.0 / 3.0) - 1.5) / 0.75_f64.sqrt()
}

fn pareto_cdf(x: f64) -> f64 {
    1.0 - (x * 0.75_f64.sqrt() + 1.5).max(1.0).powi(-3)
}

/// The logistic distribution of deviation 1: close to the normal one, with a simple inverse.
fn logistic_quantile(p: f64) -> f64 {
    (p / (1.0 - p)).ln() * 3_f64.sqrt() / std::f64::consts::PI
}

fn logistic_cdf(x: f64) -> f64 {
    1.0 / (1.0 + (-x * std::f64::consts::PI / 3_f64.sqrt()).exp())
}

#[test]
fn uniform_passes_kolmogorov_smirnov() {
    let found = kolmogorov_smirnov(sample(&Distribution::Uniform), |x| f64::midpoint(x, 1.0));
    assert!(found < critical(), "{found}");
}

#[test]
fn tables_pass_kolmogorov_smirnov() {
    let found = kolmogorov_smirnov(sample(&table(pareto_quantile, 4096)), pareto_cdf);
    assert!(found < critical(), "pareto {found}");
    let found = kolmogorov_smirnov(sample(&table(logistic_quantile, 4096)), logistic_cdf);
    assert!(found < critical(), "logistic {found}");
}

/// The tables for netem are standardised after their tails were cut, so they are compared with
/// what they say themselves.
#[test]
fn netem_tables_have_their_mean_and_deviation() {
    for table in [
        DistributionTable::normal(),
        DistributionTable::pareto(),
        DistributionTable::pareto_normal(),
    ] {
        let sample = sample(&Distribution::from(&table));
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        let deviation = (sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - table.mean()).abs() < 4.0 / n.sqrt(), "mean {mean}");
        assert!((deviation - table.deviation()).abs() < 0.06, "deviation {deviation}");
    }
    let normal = sample(&Distribution::from(&DistributionTable::normal()));
    let found = kolmogorov_smirnov(normal, |x| {
        // Zelen and Severo's approximation of the normal distribution function, good to 1e-5.
        let t = 1.0 / (1.0 + 0.332_67 * x.abs());
        let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
            * (0.436_183_6 * t - 0.120_167_6 * t * t + 0.937_298 * t.powi(3));
        if x < 0.0 { tail } else { 1.0 - tail }
    });
    assert!(found < critical(), "normal {found}");
}

#[test]
fn the_test_can_tell_shapes_apart() {
    let found = kolmogorov_smirnov(sample(&table(logistic_quantile, 4096)), pareto_cdf);
    assert!(found > 5.0 * critical(), "{found}");
    let found = kolmogorov_smirnov(sample(&table(logistic_quantile, 16)), logistic_cdf);
    assert!(found > critical(), "16 entries cannot hold the tails: {found}");
}

#[test]
fn extremes_stay_in_range() {
    for distribution in [Distribution::Uniform, table(logistic_quantile, 4096)] {
        for jitter in [0, 1, JITTER, u64::MAX] {
            let mut last = i64::MIN;
            for draw in [0, 1, 1 << 31, u32::MAX - 1, u32::MAX] {
                let offset = distribution.offset(jitter, draw);
                assert!(offset >= last, "{jitter} {draw}");
                last = offset;
            }
        }
    }
    let single = Distribution::Table([8192].into());
    assert_eq!(single.offset(1000, 0), 1000);
    assert_eq!(single.offset(1000, u32::MAX), 1000);
    assert_eq!(Distribution::Uniform.offset(1000, 0), -1000);
    assert_eq!(Distribution::Uniform.offset(1000, u32::MAX), 999);
}
