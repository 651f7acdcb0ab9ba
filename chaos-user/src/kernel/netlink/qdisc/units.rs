//! The kernel's units: probabilities as parts of 2³², times as ticks of 64 ns.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::experiment::units::Percent;

/// Nanoseconds per tick of the packet scheduler, on every kernel since 2.6.31.
pub const TICK_NS: u64 = 64;

/// A probability or a correlation as the kernel keeps it: 0 is never, `u32::MAX` is always.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Probability(pub u32);

impl Probability {
    /// 0 %
    pub const ZERO: Self = Self(0);
    /// 100 %
    pub const ONE: Self = Self(u32::MAX);
    /// The least above 0: one in 2³².
    pub const SMALLEST: Self = Self(1);

    /// `percent`, 0 to 100, rounded to the nearest value as `tc` does. `None` outside that range.
    pub fn from_percent(percent: f64) -> Option<Self> {
        (0.0..=100.0)
            .contains(&percent)
            .then(|| Self((percent / 100.0 * f64::from(u32::MAX)).round_ties_even() as u32))
    }

    /// The value in percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(u32::MAX) * 100.0
    }

    /// The probability of the opposite.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(u32::MAX - self.0)
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Percent> for Probability {
    fn from(share: Percent) -> Self {
        Self::from_percent(f64::from(share.ppb()) / 1e7).unwrap_or(Self::ONE)
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nine digits tell every value of 32 bits from its neighbours.
        let text = format!("{:.8}", self.percent());
        write!(f, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `time` in ticks, rounded down; saturates at `u32::MAX` (274.9 s).
pub fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_nanos() / u128::from(TICK_NS)).unwrap_or(u32::MAX)
}

/// `time` in nanoseconds as the kernel's signed 64 bits; saturates (292 years).
pub fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Ticks it takes to send `bytes` at `bytes_per_second`, rounded down; saturates.
pub(super) fn ticks_to_send(bytes: u64, bytes_per_second: u64) -> u32 {
    let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    u32::try_from(nanoseconds / u128::from(TICK_NS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_are_those_of_tc() {
        // Each value was seen in a request of `tc` 6.1.0.
        for (percent, raw) in [
            (0.0, 0),
            (0.1, 0x0041_8937),
            (1.0, 0x028f_5c29),
            (5.0, 0x0ccc_cccd),
            (10.0, 0x1999_999a),
            (20.0, 0x3333_3333),
            (25.0, 0x4000_0000),
            (30.0, 0x4ccc_cccc),
            (50.0, 0x8000_0000),
            (100.0, u32::MAX),
        ] {
            assert_eq!(Probability::from_percent(percent), Some(Probability(raw)), "{percent} %");
            let share: Percent = format!("{percent}%").parse().unwrap();
            assert_eq!(Probability::from(share), Probability(raw), "{share}");
        }
        for absurd in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Probability::from_percent(absurd), None, "{absurd} %");
        }
        assert_eq!(Probability(0x0ccc_cccd).to_string(), "5.00000001 %");
        assert_eq!(Probability::ONE.to_string(), "100 %");
    }

    #[test]
    fn times_saturate() {
        assert_eq!(ticks(Duration::from_millis(100)), 1_562_500);
        assert_eq!(ticks(Duration::from_nanos(63)), 0);
        assert_eq!(ticks(Duration::from_secs(275)), u32::MAX);
        assert_eq!(nanoseconds(Duration::from_mins(5)), 300_000_000_000);
        assert_eq!(nanoseconds(Duration::MAX), i64::MAX);
        assert_eq!(ticks_to_send(4096, 125_000), 512_000);
        assert_eq!(ticks_to_send(u64::MAX, 0), u32::MAX);
    }

    proptest! {
        #[test]
        fn percent_round_trips(raw: u32) {
            prop_assert_eq!(
                Probability::from_percent(Probability(raw).percent()), Some(Probability(raw)));
        }

        #[test]
        fn percent_is_monotone(a in 0.0..=100.0f64, b in 0.0..=100.0f64) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(Probability::from_percent(low) <= Probability::from_percent(high));
        }

        #[test]
        fn ticks_are_monotone_and_exact_to_one_tick(ns in 0u64..274_000_000_000, more in 0u64..1_000_000) {
            let time = Duration::from_nanos(ns);
            let error = ns - u64::from(ticks(time)) * TICK_NS;
            prop_assert!(error < TICK_NS);
            prop_assert!(ticks(time) <= ticks(time + Duration::from_nanos(more)));
        }
    }
}
