//! Delay distributions in the form netem takes them: the inverse of the distribution function,
//! sampled at equal steps, standardised so that [`SCALE`] is one standard deviation.
//!
//! netem draws a uniform index and computes `delay + jitter · entry / 8192`. The tables made here
//! have a mean of 0 and a standard deviation of 8192 *after* they were cut to 16 bits, so that the
//! mean delay is the configured delay and its standard deviation the configured jitter. (The tables
//! that iproute2 ships do not hold that for the skewed distributions: its pareto has 0.82 of the
//! deviation and a mean of -0.03 deviations.)

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One standard deviation (`NETEM_DIST_SCALE`).
pub const SCALE: f64 = 8192.0;
/// Entries of the tables made here; 8 KiB in a request.
pub const TABLE_ENTRIES: usize = 4096;
/// The most a kernel takes (`NETEM_DIST_MAX`).
pub const MAX_ENTRIES: usize = 16384;

/// Shape of the Pareto distribution; iproute2 has the same.
const PARETO_SHAPE: f64 = 3.0;
/// Rounds of "cut to 16 bits, then standardise again"; the error shrinks by half or more in each.
const ROUNDS: usize = 48;
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Characters that are quoted of what is no number.
const SHOWN: usize = 40;

/// Why a table could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistributionError {
    /// The file could not be read.
    #[error("cannot read the distribution {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in the file is no number.
    #[error("{}:{line}: {text:?} is no number", path.display())]
    NotANumber {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What stands there, up to 40 characters.
        text: String,
    },
    /// There are too few or too many entries.
    #[error("a distribution needs 1 to {MAX_ENTRIES} entries, this one has {0}")]
    EntryCount(usize),
    /// Samples without any spread cannot be scaled.
    #[error("a distribution needs at least two different finite samples")]
    NoSpread,
}

/// A table as netem takes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<i16>", into = "Vec<i16>")]
pub struct DistributionTable {
    entries: Vec<i16>,
}

impl DistributionTable {
    /// A table given entry by entry.
    pub fn new(entries: Vec<i16>) -> Result<Self, DistributionError> {
        match entries.len() {
            1..=MAX_ENTRIES => Ok(Self { entries }),
            count => Err(DistributionError::EntryCount(count)),
        }
    }

    /// Equal probability from one jitter below the delay to one above, as netem does without a
    /// table. (Its standard deviation is 0.58 of the jitter, as there.)
    pub fn uniform() -> Self {
        let step = 2.0 * SCALE / TABLE_ENTRIES as f64;
        let entries =
            (0..TABLE_ENTRIES).map(|i| ((i as f64 + 0.5) * step - SCALE).floor() as i16).collect();
        Self { entries }
    }

    /// The normal distribution, out to ±3.7 standard deviations.
    pub fn normal() -> Self {
        Self::standardised(&quantiles(normal_quantile))
    }

    /// The Pareto distribution of shape 3: many short delays and a few very long ones.
    pub fn pareto() -> Self {
        Self::standardised(&quantiles(pareto_quantile))
    }

    /// A Pareto distribution blurred by a quarter of a normal one, quantile by quantile, as in iproute2.
    pub fn pareto_normal() -> Self {
        Self::standardised(&quantiles(|p| 0.25 * normal_quantile(p) + pareto_quantile(p)))
    }

    /// The distribution of measured delays (in any unit); only its shape is kept, which is scaled
    /// by the delay and jitter it is used with.
    pub fn from_samples(samples: &[f64]) -> Result<Self, DistributionError> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
            return Err(DistributionError::NoSpread);
        };
        if first >= last {
            return Err(DistributionError::NoSpread);
        }
        let table = Self::standardised(&quantiles(|p| empirical_quantile(&sorted, p)));
        // Astronomic samples overflow the moments.
        if table.deviation() > 0.0 { Ok(table) } else { Err(DistributionError::NoSpread) }
    }

    /// Reads a table in the format of iproute2's `*.dist` files: numbers between blanks, `#` starts a
    /// comment. Numbers outside 16 bits are cut.
    pub fn from_file(path: &Path) -> Result<Self, DistributionError> {
        let numbers = read_numbers(path)?;
        let cut = |v: f64| v.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
        Self::new(numbers.into_iter().map(cut).collect())
    }

    /// Reads measured delays, in the same format, and makes the table of their distribution.
    pub fn from_sample_file(path: &Path) -> Result<Self, DistributionError> {
        Self::from_samples(&read_numbers(path)?)
    }

    /// The entries, in the order of their probability.
    pub fn entries(&self) -> &[i16] {
        &self.entries
    }

    /// Mean in standard deviations of [`SCALE`].
    pub fn mean(&self) -> f64 {
        moments(&self.entries).0 / SCALE
    }

    /// Standard deviation, in units of [`SCALE`]: what the jitter is multiplied with.
    pub fn deviation(&self) -> f64 {
        moments(&self.entries).1 / SCALE
    }

    /// Shifts and stretches `quantiles` until their mean is 0 and their deviation [`SCALE`] although
    /// entries beyond 16 bits are cut.
    fn standardised(quantiles: &[f64]) -> Self {
        let (mean, deviation) = moments_of(quantiles.iter().copied(), quantiles.len());
        let (mut stretch, mut shift) = (SCALE / deviation, -mean * SCALE / deviation);
        let mut entries = Vec::new();
        for _ in 0..ROUNDS {
            // The cast saturates, which is the cut.
            entries =
                quantiles.iter().map(|q| (q * stretch + shift).round() as i16).collect::<Vec<_>>();
            let (mean, deviation) = moments(&entries);
            if deviation == 0.0 {
                break;
            }
            let correction = SCALE / deviation;
            stretch *= correction;
            shift = (shift - mean) * correction;
        }
        Self { entries }
    }
}

impl TryFrom<Vec<i16>> for DistributionTable {
    type Error = DistributionError;

    fn try_from(entries: Vec<i16>) -> Result<Self, Self::Error> {
        Self::new(entries)
    }
}

impl From<DistributionTable> for Vec<i16> {
    fn from(table: DistributionTable) -> Self {
        table.entries
    }
}

fn quantiles(quantile: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..TABLE_ENTRIES).map(|i| quantile((i as f64 + 0.5) / TABLE_ENTRIES as f64)).collect()
}

fn moments(entries: &[i16]) -> (f64, f64) {
    moments_of(entries.iter().map(|v| f64::from(*v)), entries.len())
}

fn moments_of(values: impl Iterator<Item = f64> + Clone, count: usize) -> (f64, f64) {
    let count = count as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Linear between neighbouring samples.
fn empirical_quantile(sorted: &[f64], p: f64) -> f64 {
    let place = (p * sorted.len() as f64 - 0.5).clamp(0.0, (sorted.len() - 1) as f64);
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Quantile of the Pareto distribution of shape 3 and scale 1, its mean taken off.
fn pareto_quantile(p: f64) -> f64 {
    let mean = PARETO_SHAPE / (PARETO_SHAPE - 1.0);
    (1.0 - p).powf(-1.0 / PARETO_SHAPE) - mean
}

/// Quantile of the standard normal distribution: Acklam's rational approximation, relative error
/// below 1.2e-9.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const TAIL: f64 = 0.024_25;
    let polynomial = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    if p < TAIL {
        tail(p)
    } else if p > 1.0 - TAIL {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        q * polynomial(&A, r) / polynomial(&B, r)
    }
}

fn read_numbers(path: &Path) -> Result<Vec<f64>, DistributionError> {
    let failed = |source| DistributionError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other("it is larger than 16 MiB")));
    }
    let mut numbers = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_ascii_whitespace() {
            let number = word.parse().ok().filter(|number: &f64| number.is_finite());
            numbers.push(number.ok_or_else(|| DistributionError::NotANumber {
                path: path.to_owned(),
                line: index + 1,
                text: word.chars().take(SHOWN).collect(),
            })?);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
#[path = "distribution_tests.rs"]
mod tests;
