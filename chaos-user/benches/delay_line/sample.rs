//! Numbers from many measurements.

use std::fmt;

/// Signed durations in ns.
#[derive(Debug, Default)]
pub(crate) struct Sample(Vec<i64>);

impl Sample {
    pub(crate) fn extend(&mut self, other: impl IntoIterator<Item = i64>) {
        self.0.extend(other);
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }

    /// In µs.
    pub(crate) fn quantile(&mut self, q: f64) -> f64 {
        self.0.sort_unstable();
        let place = ((self.0.len() - 1) as f64 * q).round() as usize;
        self.0[place] as f64 / 1000.0
    }

    /// In µs.
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<i64>() as f64 / self.0.len() as f64 / 1000.0
    }

    pub(crate) fn summary(&mut self) -> Summary {
        Summary {
            count: self.0.len(),
            mean: self.mean(),
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            // Of fewer, it is but the longest.
            p999: (self.0.len() >= 1000).then(|| self.quantile(0.999)),
        }
    }
}

/// In µs.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Summary {
    count: usize,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    p999: Option<f64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, mean, p50, p99, p999 } = self;
        write!(f, "n {count:6}  mean {mean:8.1}  p50 {p50:8.1}  p99 {p99:9.1}")?;
        match p999 {
            Some(p999) => write!(f, "  p99.9 {p999:9.1} µs"),
            None => f.write_str(" µs"),
        }
    }
}
