//! What somebody wants done to the packets of one slot.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::distribution::{Distribution, MAX_TABLE_ENTRIES};

/// The longest delay that can be asked for.
pub const MAX_DELAY: Duration = Duration::from_hours(1);

/// What happens to the packets of one slot. [`Setting::default`] holds nothing back.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// How long each packet is held.
    pub latency: Duration,
    /// How far the delay strays from the latency: the half width of the uniform distribution, the
    /// standard deviation of the others. Delays below zero become zero.
    pub jitter: Duration,
    /// How it strays.
    pub distribution: Distribution,
    /// How much each delay resembles the one before, from 0 to 1, as netem defines it.
    pub correlation: f64,
    /// Whether jitter may change the order of a flow's packets.
    pub order: Order,
    /// Some packets overtake those that are held.
    pub reorder: Option<Reorder>,
    /// A link of a certain speed before the delay.
    pub rate: Option<Rate>,
    /// How many packets may be held at once.
    pub limit: u32,
    /// What happens to a packet that cannot be held.
    pub overflow: Overflow,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            distribution: Distribution::Uniform,
            correlation: 0.0,
            order: Order::Keep,
            reorder: None,
            rate: None,
            limit: u32::MAX,
            overflow: Overflow::Deliver,
        }
    }
}

/// Whether jitter may change the order of a flow's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// A packet never leaves before an earlier one of its flow. Jitter then is what a queue on the
    /// path would cause, and the delays are longer on average than the distribution says.
    #[default]
    Keep,
    /// Each packet leaves when its own delay is over, as in netem.
    Free,
}

/// What happens to a packet that cannot be held: `limit` or the line's memory is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is delivered at once and counted as bypassed: the fault fails open.
    #[default]
    Deliver,
    /// It is dropped and counted, as a full queue would.
    Drop,
}

/// Packets that are not held and so overtake those that are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// The chance that a candidate overtakes, from 0 to 1.
    pub chance: f64,
    /// How much each choice resembles the one before, from 0 to 1, as netem defines it.
    pub correlation: f64,
    /// Every how many packets one is a candidate; 1 makes every packet one.
    pub gap: NonZeroU32,
}

/// A link that takes time to put each packet on the wire, with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second, link-layer headers included.
    pub bytes_per_second: NonZeroU64,
    /// Bytes that the wire adds to each packet (or takes away), such as 24 for Ethernet's
    /// preamble, checksum and gap.
    pub overhead: i32,
    /// Packets that may wait for the wire; more are dropped and counted.
    pub queue_packets: u32,
    /// Bytes that may wait for the wire; more are dropped and counted. An idle link takes a packet
    /// of any size.
    pub queue_bytes: u64,
}

/// Why a setting makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidSetting {
    /// Beyond [`MAX_DELAY`].
    #[error(
        "a {what} of {given:?} is longer than the delay line holds packets (at most {MAX_DELAY:?})"
    )]
    TooLong {
        /// Latency or jitter.
        what: &'static str,
        /// What was asked for.
        given: Duration,
    },
    /// Not between 0 and 1.
    #[error("a {what} of {given} is no ratio from 0 to 1")]
    NoRatio {
        /// Which ratio.
        what: &'static str,
        /// What was asked for.
        given: f64,
    },
    /// The table is empty or too big.
    #[error("a distribution table needs 1 to {MAX_TABLE_ENTRIES} entries")]
    Table,
    /// Nothing could ever be held.
    #[error("a limit of 0 packets would hold nothing; ask for at least 1")]
    NoLimit,
}

impl Setting {
    /// Checks every value against its range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        for (what, given) in [("latency", self.latency), ("jitter", self.jitter)] {
            if given > MAX_DELAY {
                return Err(InvalidSetting::TooLong { what, given });
            }
        }
        let reorder =
            self.reorder.map_or([0.0; 2], |reorder| [reorder.chance, reorder.correlation]);
        for (what, given) in [
            ("correlation", self.correlation),
            ("reorder chance", reorder[0]),
            ("reorder correlation", reorder[1]),
        ] {
            if !(0.0..=1.0).contains(&given) {
                return Err(InvalidSetting::NoRatio { what, given });
            }
        }
        if !self.distribution.is_valid() {
            return Err(InvalidSetting::Table);
        }
        if self.limit == 0 {
            return Err(InvalidSetting::NoLimit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_are_refused_with_their_name() {
        let refused = |change: fn(&mut Setting)| {
            let mut setting = Setting::default();
            change(&mut setting);
            setting.validate().unwrap_err().to_string()
        };
        assert_eq!(Setting::default().validate(), Ok(()));
        assert!(
            refused(|s| s.latency = Duration::from_secs(3601)).starts_with("a latency of 3601s")
        );
        assert!(refused(|s| s.jitter = Duration::MAX).starts_with("a jitter of"));
        for given in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let setting = Setting { correlation: given, ..Setting::default() };
            let error = setting.validate().unwrap_err().to_string();
            assert!(error.contains("is no ratio from 0 to 1"), "{error}");
        }
        let reorder = Reorder { chance: 2.0, correlation: 0.0, gap: NonZeroU32::MIN };
        let setting = Setting { reorder: Some(reorder), ..Setting::default() };
        assert!(setting.validate().unwrap_err().to_string().contains("reorder chance of 2"));
        assert!(refused(|s| s.distribution = Distribution::Table([].into())).contains("table"));
        assert!(refused(|s| s.limit = 0).contains("limit of 0"));
    }
}
