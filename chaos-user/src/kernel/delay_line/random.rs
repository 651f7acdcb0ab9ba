//! Seeded randomness by counting: draw number `n` of a slot depends on the seed, the slot and `n`
//! alone, so a seed reproduces a run and no extra packet elsewhere shifts later draws.

use chaos_common::decide::mix;

/// What a draw is for; different uses of one packet must not be correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// How long the packet is held.
    Delay,
    /// Whether it overtakes.
    Reorder,
}

/// A stream of 32-bit draws with netem's correlation: each is a weighted mean of a fresh draw and
/// the one before. (As in netem, strong correlation therefore narrows what comes out.)
#[derive(Debug, Clone)]
pub struct Draws {
    key: u64,
    number: u64,
    /// Weight of the draw before, in 2^-32.
    correlation: u64,
    last: u64,
}

const ALL: u64 = 1 << 32;

impl Draws {
    /// `correlation` is a ratio from 0 to 1; values outside are cut.
    pub fn new(seed: u64, slot: u16, purpose: Purpose, correlation: f64) -> Self {
        let key = mix(seed, u64::from(slot) << 8 | purpose as u64);
        let correlation = (correlation.clamp(0.0, 1.0) * (ALL - 1) as f64) as u64;
        // The stream starts as if a draw had gone before, or the first packets would stand out.
        Self { key, number: 0, correlation, last: mix(key, u64::MAX) >> 32 }
    }

    /// Changes the correlation and goes on with the same stream.
    pub fn set_correlation(&mut self, correlation: f64) {
        self.correlation = (correlation.clamp(0.0, 1.0) * (ALL - 1) as f64) as u64;
    }

    /// The next draw, uniform over 0..2^32 when uncorrelated.
    pub fn draw(&mut self) -> u32 {
        let fresh = mix(self.key, self.number) >> 32;
        self.number += 1;
        if self.correlation == 0 {
            return fresh as u32;
        }
        let rho = self.correlation + 1;
        self.last = (fresh * (ALL - rho) + self.last * rho) >> 32;
        self.last as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{Draws, Purpose};

    fn stream(seed: u64, slot: u16, purpose: Purpose, correlation: f64) -> Vec<f64> {
        let mut draws = Draws::new(seed, slot, purpose, correlation);
        (0..20_000).map(|_| f64::from(draws.draw()) / 2_f64.powi(32)).collect()
    }

    /// Pearson's coefficient of two series.
    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let n = a.len().min(b.len()) as f64;
        let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (a, b) in a.iter().zip(b) {
            ab += (a - mean_a) * (b - mean_b);
            aa += (a - mean_a).powi(2);
            bb += (b - mean_b).powi(2);
        }
        ab / (aa * bb).sqrt()
    }

    #[test]
    fn a_seed_reproduces_and_anything_else_is_independent() {
        let base = stream(1, 1, Purpose::Delay, 0.0);
        assert_eq!(base, stream(1, 1, Purpose::Delay, 0.0));
        for other in [
            stream(2, 1, Purpose::Delay, 0.0),
            stream(1, 2, Purpose::Delay, 0.0),
            stream(1, 1, Purpose::Reorder, 0.0),
        ] {
            let found = correlation(&base, &other);
            assert!(found.abs() < 0.03, "{found}");
        }
    }

    #[test]
    fn neighbours_are_correlated_as_netem_defines_it() {
        for wanted in [0.0, 0.25, 0.5, 0.9] {
            let draws = stream(3, 9, Purpose::Delay, wanted);
            // An autoregression of weight rho has a lag-1 correlation of rho.
            let found = correlation(&draws, &draws[1..]);
            assert!((found - wanted).abs() < 0.03, "{wanted} gave {found}");
        }
    }
}
