//! netem as somebody wants it.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{InvalidQdisc, Loss};
use crate::kernel::netlink::qdisc::{DistributionTable, Probability};

/// The longest jitter that netem keeps, in nanoseconds; it cuts longer ones without an error.
const MAX_JITTER_NS: u128 = i32::MAX as u128;

/// How delays spread around their mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Distribution {
    /// Equally likely from `delay - jitter` to `delay + jitter`.
    #[default]
    Uniform,
    /// Normal, with the jitter as its standard deviation.
    Normal,
    /// Pareto of shape 3, with the jitter as its standard deviation.
    Pareto,
    /// A mix of both.
    ParetoNormal,
    /// A table of one's own.
    Custom(DistributionTable),
}

impl Distribution {
    /// The table for it.
    pub fn table(&self) -> Cow<'_, DistributionTable> {
        match self {
            Self::Uniform => Cow::Owned(DistributionTable::uniform()),
            Self::Normal => Cow::Owned(DistributionTable::normal()),
            Self::Pareto => Cow::Owned(DistributionTable::pareto()),
            Self::ParetoNormal => Cow::Owned(DistributionTable::pareto_normal()),
            Self::Custom(table) => Cow::Borrowed(table),
        }
    }
}

/// A probability whose decisions may resemble the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chance {
    /// How likely.
    pub probability: Probability,
    /// How much a decision resembles the one before; 0 for none.
    pub correlation: Probability,
}

impl From<Probability> for Chance {
    fn from(probability: Probability) -> Self {
        Self { probability, correlation: Probability::ZERO }
    }
}

/// Some packets are sent at once and overtake those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reorder {
    /// How likely a packet overtakes.
    pub chance: Chance,
    /// Only every `gap`-th packet may; 1 for any.
    pub gap: u32,
}

/// A rate limit, with what the link adds to each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetemRate {
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Bytes added to each packet; negative for headers the link does not carry.
    pub packet_overhead: i32,
    /// Size of the link's cells in bytes; 0 for none.
    pub cell_size: u32,
    /// Bytes added per cell.
    pub cell_overhead: i32,
}

impl NetemRate {
    /// A rate without overhead.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, packet_overhead: 0, cell_size: 0, cell_overhead: 0 }
    }
}

/// Time between slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SlotSpacing {
    /// Equally likely from `min` to `max`.
    Between {
        /// Shortest.
        min: Duration,
        /// Longest; at most 2.147 s more.
        max: Duration,
    },
    /// Around a mean. Linux 4.16.
    Distributed {
        /// The mean.
        delay: Duration,
        /// The spread, up to 2.147 s, more than 0.
        jitter: Duration,
        /// How it is spread.
        distribution: Distribution,
    },
}

impl SlotSpacing {
    /// As people write it: one time, with a jitter or not, or the shortest and the longest. `None` if
    /// there are other times than that.
    pub fn of(times: &[Duration], jitter: Option<(Duration, Distribution)>) -> Option<Self> {
        Some(match (times, jitter) {
            ([delay], Some((jitter, distribution))) => {
                Self::Distributed { delay: *delay, jitter, distribution }
            }
            ([one], None) => Self::Between { min: *one, max: *one },
            ([min, max], None) => Self::Between { min: *min, max: *max },
            _ => return None,
        })
    }
}

/// Packets are held and leave in bursts. Linux 4.15.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Time from one burst to the next.
    pub spacing: SlotSpacing,
    /// Packets per burst at most.
    pub max_packets: Option<u32>,
    /// Bytes per burst at most.
    pub max_bytes: Option<u32>,
}

/// Everything netem can do. The default does nothing but queue [`Self::DEFAULT_LIMIT`] packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Netem {
    /// Packets that can wait; more are dropped. Needs to be above rate × (delay + jitter).
    pub limit: u32,
    /// Mean delay.
    pub latency: Duration,
    /// Variation of the delay, up to 2.147 s. Without a rate it reorders packets.
    pub jitter: Duration,
    /// How much a delay resembles the one before; 0 for none.
    pub delay_correlation: Probability,
    /// How delays spread.
    pub distribution: Distribution,
    /// Loss.
    pub loss: Loss,
    /// Mark packets that can carry it (ECN) instead of losing them.
    pub ecn: bool,
    /// Duplication. Kernels of 2025 and 2026 refuse a duplicating netem next to another one on the
    /// same device.
    pub duplicate: Chance,
    /// One flipped bit.
    pub corrupt: Chance,
    /// Reordering; needs a latency to overtake.
    pub reorder: Option<Reorder>,
    /// Rate limit. Keeps packets in order.
    pub rate: Option<NetemRate>,
    /// Bursts.
    pub slot: Option<Slot>,
    /// Start of the random numbers. Linux 6.6; ignored before, which the read-back reports.
    pub seed: Option<u64>,
}

impl Default for Netem {
    fn default() -> Self {
        Self {
            limit: Self::DEFAULT_LIMIT,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            delay_correlation: Probability::ZERO,
            distribution: Distribution::Uniform,
            loss: Loss::NONE,
            ecn: false,
            duplicate: Chance::default(),
            corrupt: Chance::default(),
            reorder: None,
            rate: None,
            slot: None,
            seed: None,
        }
    }
}

impl Netem {
    /// Packets that can wait unless told otherwise: 100 ms at 10 Gbit/s in full frames. (The 1000
    /// that `tc` sends are full after 12 ms at 1 Gbit/s, and then drop silently.)
    pub const DEFAULT_LIMIT: u32 = 100_000;

    /// A constant delay.
    pub fn delay(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    pub(super) fn invalid(
        what: &'static str,
        value: impl Into<String>,
        problem: &'static str,
    ) -> InvalidQdisc {
        InvalidQdisc { kind: "netem", what, value: value.into(), problem }
    }

    /// Checks what a kernel would refuse, cut or misread.
    pub fn validate(&self) -> Result<(), InvalidQdisc> {
        if self.limit == 0 || self.limit > i32::MAX as u32 {
            return Err(Self::invalid(
                "limit",
                self.limit.to_string(),
                "is not within 1 to 2147483647 packets",
            ));
        }
        check_time("latency", self.latency)?;
        check_jitter("jitter", self.jitter)?;
        if self.jitter.is_zero() && self.distribution != Distribution::Uniform {
            return Err(Self::invalid("jitter", "0", "leaves nothing to distribute"));
        }
        if self.ecn && self.loss.is_none() {
            return Err(Self::invalid("ecn", "on", "needs a loss that it can turn into marks"));
        }
        if let Some(reorder) = self.reorder {
            if reorder.gap == 0 {
                return Err(Self::invalid("gap", "0", "is not at least 1"));
            }
            if reorder.chance.probability.is_zero() {
                return Err(Self::invalid("reorder", "0 %", "never overtakes"));
            }
            if self.latency.is_zero() {
                return Err(Self::invalid("latency", "0", "leaves nothing to overtake by reorder"));
            }
        }
        if self.rate.is_some_and(|rate| rate.bytes_per_second == 0) {
            return Err(Self::invalid("rate", "0 B/s", "would never send anything"));
        }
        self.slot.as_ref().map_or(Ok(()), Slot::validate)
    }
}

impl Slot {
    fn validate(&self) -> Result<(), InvalidQdisc> {
        for (what, bound) in [("slot packets", self.max_packets), ("slot bytes", self.max_bytes)] {
            if bound.is_some_and(|bound| bound == 0 || bound > i32::MAX as u32) {
                let bound = bound.unwrap_or_default();
                return Err(Netem::invalid(
                    what,
                    bound.to_string(),
                    "is not within 1 to 2147483647",
                ));
            }
        }
        match &self.spacing {
            SlotSpacing::Between { min, max } => {
                check_time("slot delay", *max)?;
                if max.is_zero() {
                    return Err(Netem::invalid("slot delay", "0", "makes no slots"));
                }
                let Some(range) = max.checked_sub(*min) else {
                    return Err(Netem::invalid(
                        "slot delay",
                        format!("{min:?} to {max:?}"),
                        "ends before it starts",
                    ));
                };
                check_jitter("slot range", range)
            }
            SlotSpacing::Distributed { delay, jitter, .. } => {
                check_time("slot delay", *delay)?;
                if jitter.is_zero() {
                    return Err(Netem::invalid("slot jitter", "0", "leaves nothing to distribute"));
                }
                check_jitter("slot jitter", *jitter)
            }
        }
    }
}

fn check_time(what: &'static str, time: Duration) -> Result<(), InvalidQdisc> {
    // The kernel adds it to the time since boot in 64 signed bits.
    if time > Duration::from_hours(24 * 365) {
        return Err(Netem::invalid(what, format!("{time:?}"), "is more than a year"));
    }
    Ok(())
}

fn check_jitter(what: &'static str, time: Duration) -> Result<(), InvalidQdisc> {
    if time.as_nanos() > MAX_JITTER_NS {
        return Err(Netem::invalid(
            what,
            format!("{time:?}"),
            "is more than 2.147483647 s, which netem would cut",
        ));
    }
    Ok(())
}
