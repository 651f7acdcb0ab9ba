//! netem: delay, loss, duplication, corruption, reordering, rate and slots.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext as _, NLA_F_NESTED, Nla, NlaBuffer,
    NlasIterator, Parseable, parse_i64, parse_u32, parse_u64,
};
use netlink_packet_route::tc::TcAttribute;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::loss::{self, TcNetemLoss};
use super::raw::{attribute, read};

const TCA_NETEM_CORR: u16 = 1;
const TCA_NETEM_DELAY_DIST: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_LOSS: u16 = 5;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_ECN: u16 = 7;
const TCA_NETEM_RATE64: u16 = 8;
// 9 is TCA_NETEM_PAD, which keeps 64-bit values aligned in dumps; it lands in `Other`.
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_SLOT: u16 = 12;
const TCA_NETEM_SLOT_DIST: u16 = 13;
const TCA_NETEM_PRNG_SEED: u16 = 14;

const QOPT_LEN: usize = size_of::<TcNetemQopt>();

/// `struct tc_netem_qopt`, the fixed head of netem's `TCA_OPTIONS`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemQopt {
    /// Delay in ticks of 64 ns; [`TcQdiscNetemOption::Latency64`] wins over it.
    pub latency: u32,
    /// Queue length in packets; what comes beyond it is dropped.
    pub limit: u32,
    /// Probability of loss, `u32::MAX` = 100 %.
    pub loss: u32,
    /// With reordering, every `gap`-th packet may overtake; 0 switches reordering off.
    pub gap: u32,
    /// Probability of duplication, `u32::MAX` = 100 %.
    pub duplicate: u32,
    /// Delay variation in ticks of 64 ns; [`TcQdiscNetemOption::Jitter64`] wins over it.
    pub jitter: u32,
}

/// `struct tc_netem_corr`: how much a decision resembles the one before, `u32::MAX` = 100 %.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemCorr {
    /// Correlation of the delay variation.
    pub delay: u32,
    /// Correlation of the loss.
    pub loss: u32,
    /// Correlation of the duplication.
    pub duplicate: u32,
}

/// `struct tc_netem_reorder`
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemReorder {
    /// Probability, `u32::MAX` = 100 %.
    pub probability: u32,
    /// Correlation with the decision before, `u32::MAX` = 100 %.
    pub correlation: u32,
}

/// `struct tc_netem_corrupt`
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemCorrupt {
    /// Probability, `u32::MAX` = 100 %.
    pub probability: u32,
    /// Correlation with the decision before, `u32::MAX` = 100 %.
    pub correlation: u32,
}

/// `struct tc_netem_rate`
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemRate {
    /// Bytes per second; `u32::MAX` when the rate is in [`TcQdiscNetemOption::Rate64`].
    pub rate: u32,
    /// Bytes added to (or taken from) the length of each packet.
    pub packet_overhead: i32,
    /// Cell size in bytes, 0 for none.
    pub cell_size: u32,
    /// Bytes added per cell.
    pub cell_overhead: i32,
}

/// `struct tc_netem_slot`: packets leave in bursts. Times in nanoseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemSlot {
    /// Shortest time between slots.
    pub min_delay: i64,
    /// Longest time between slots.
    pub max_delay: i64,
    /// Packets per slot, 0 for no bound.
    pub max_packets: i32,
    /// Bytes per slot, 0 for no bound.
    pub max_bytes: i32,
    /// Mean time between slots when they follow a distribution.
    pub dist_delay: i64,
    /// Variation of that time; 0 means min and max apply instead.
    pub dist_jitter: i64,
}

/// One attribute after the head of netem's `TCA_OPTIONS`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcQdiscNetemOption {
    /// `TCA_NETEM_CORR`
    Corr(TcNetemCorr),
    /// `TCA_NETEM_DELAY_DIST`: inverse of the distribution function at equal steps, 8192 = one
    /// standard deviation. 1 to 16384 entries. The kernel never dumps it.
    DelayDist(Vec<i16>),
    /// `TCA_NETEM_REORDER`
    Reorder(TcNetemReorder),
    /// `TCA_NETEM_CORRUPT`
    Corrupt(TcNetemCorrupt),
    /// `TCA_NETEM_LOSS`; when it is absent loss is random.
    Loss(Vec<TcNetemLoss>),
    /// `TCA_NETEM_RATE`
    Rate(TcNetemRate),
    /// `TCA_NETEM_ECN`: non-zero marks instead of dropping.
    Ecn(u32),
    /// `TCA_NETEM_RATE64`: bytes per second.
    Rate64(u64),
    /// `TCA_NETEM_LATENCY64`: nanoseconds. Linux 4.15.
    Latency64(i64),
    /// `TCA_NETEM_JITTER64`: nanoseconds. Linux 4.15.
    Jitter64(i64),
    /// `TCA_NETEM_SLOT`. Linux 4.15.
    Slot(TcNetemSlot),
    /// `TCA_NETEM_SLOT_DIST`: as [`Self::DelayDist`]. Linux 4.16.
    SlotDist(Vec<i16>),
    /// `TCA_NETEM_PRNG_SEED`. Linux 6.6; older kernels ignore it without an error.
    PrngSeed(u64),
    /// An attribute this crate does not know.
    Other(DefaultNla),
}

impl Nla for TcQdiscNetemOption {
    fn value_len(&self) -> usize {
        match self {
            Self::Corr(_) => size_of::<TcNetemCorr>(),
            Self::DelayDist(table) | Self::SlotDist(table) => size_of_val(table.as_slice()),
            Self::Reorder(_) => size_of::<TcNetemReorder>(),
            Self::Corrupt(_) => size_of::<TcNetemCorrupt>(),
            Self::Loss(models) => loss::value_len(models),
            Self::Rate(_) => size_of::<TcNetemRate>(),
            Self::Ecn(_) => size_of::<u32>(),
            Self::Rate64(_) | Self::PrngSeed(_) => size_of::<u64>(),
            Self::Latency64(_) | Self::Jitter64(_) => size_of::<i64>(),
            Self::Slot(_) => size_of::<TcNetemSlot>(),
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Corr(_) => TCA_NETEM_CORR,
            Self::DelayDist(_) => TCA_NETEM_DELAY_DIST,
            Self::Reorder(_) => TCA_NETEM_REORDER,
            Self::Corrupt(_) => TCA_NETEM_CORRUPT,
            Self::Loss(_) => TCA_NETEM_LOSS | NLA_F_NESTED,
            Self::Rate(_) => TCA_NETEM_RATE,
            Self::Ecn(_) => TCA_NETEM_ECN,
            Self::Rate64(_) => TCA_NETEM_RATE64,
            Self::Latency64(_) => TCA_NETEM_LATENCY64,
            Self::Jitter64(_) => TCA_NETEM_JITTER64,
            Self::Slot(_) => TCA_NETEM_SLOT,
            Self::SlotDist(_) => TCA_NETEM_SLOT_DIST,
            Self::PrngSeed(_) => TCA_NETEM_PRNG_SEED,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Corr(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::DelayDist(table) | Self::SlotDist(table) => {
                buffer.copy_from_slice(table.as_slice().as_bytes());
            }
            Self::Reorder(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Corrupt(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Loss(models) => loss::emit(models, buffer),
            Self::Rate(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Ecn(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Rate64(v) | Self::PrngSeed(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Latency64(v) | Self::Jitter64(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Slot(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&'a T>> for TcQdiscNetemOption {
    fn parse(nla: &NlaBuffer<&'a T>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match nla.kind() {
            TCA_NETEM_CORR => Self::Corr(read(value).context("invalid TCA_NETEM_CORR")?),
            TCA_NETEM_DELAY_DIST => {
                Self::DelayDist(parse_table(value).context("invalid TCA_NETEM_DELAY_DIST")?)
            }
            TCA_NETEM_REORDER => Self::Reorder(read(value).context("invalid TCA_NETEM_REORDER")?),
            TCA_NETEM_CORRUPT => Self::Corrupt(read(value).context("invalid TCA_NETEM_CORRUPT")?),
            TCA_NETEM_LOSS => Self::Loss(loss::parse_all(value).context("invalid TCA_NETEM_LOSS")?),
            TCA_NETEM_RATE => Self::Rate(read(value).context("invalid TCA_NETEM_RATE")?),
            TCA_NETEM_ECN => Self::Ecn(parse_u32(value).context("invalid TCA_NETEM_ECN")?),
            TCA_NETEM_RATE64 => Self::Rate64(parse_u64(value).context("invalid TCA_NETEM_RATE64")?),
            TCA_NETEM_LATENCY64 => {
                Self::Latency64(parse_i64(value).context("invalid TCA_NETEM_LATENCY64")?)
            }
            TCA_NETEM_JITTER64 => {
                Self::Jitter64(parse_i64(value).context("invalid TCA_NETEM_JITTER64")?)
            }
            TCA_NETEM_SLOT => Self::Slot(read(value).context("invalid TCA_NETEM_SLOT")?),
            TCA_NETEM_SLOT_DIST => {
                Self::SlotDist(parse_table(value).context("invalid TCA_NETEM_SLOT_DIST")?)
            }
            TCA_NETEM_PRNG_SEED => {
                Self::PrngSeed(parse_u64(value).context("invalid TCA_NETEM_PRNG_SEED")?)
            }
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

fn parse_table(value: &[u8]) -> Result<Vec<i16>, DecodeError> {
    let (entries, rest) = value.as_chunks::<2>();
    if rest.is_empty() {
        Ok(entries.iter().map(|entry| i16::from_ne_bytes(*entry)).collect())
    } else {
        Err(DecodeError::from("a table of 16-bit values has an odd length"))
    }
}

/// netem's `TCA_OPTIONS`: the head, then attributes.
///
/// `NLM_F_REPLACE` on an existing netem merges: an attribute that is left out keeps its old value
/// (except loss, which falls back to random, and ECN).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcQdiscNetem {
    /// The fixed head.
    pub qopt: TcNetemQopt,
    /// What follows it.
    pub options: Vec<TcQdiscNetemOption>,
}

impl TcQdiscNetem {
    /// `TCA_KIND`
    pub const KIND: &'static str = "netem";

    /// Options made of a head and attributes.
    pub fn new(qopt: TcNetemQopt, options: Vec<TcQdiscNetemOption>) -> Self {
        Self { qopt, options }
    }
}

impl Emitable for TcQdiscNetem {
    fn buffer_len(&self) -> usize {
        QOPT_LEN + self.options.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..QOPT_LEN].copy_from_slice(self.qopt.as_bytes());
        self.options.as_slice().emit(&mut buffer[QOPT_LEN..]);
    }
}

impl Parseable<[u8]> for TcQdiscNetem {
    fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let qopt = read(payload).context("invalid tc_netem_qopt")?;
        let options = NlasIterator::new(&payload[QOPT_LEN..])
            .map(|nla| TcQdiscNetemOption::parse(&nla?))
            .collect::<Result<_, _>>()?;
        Ok(Self { qopt, options })
    }
}

impl From<&TcQdiscNetem> for TcAttribute {
    fn from(options: &TcQdiscNetem) -> Self {
        attribute(options)
    }
}

#[cfg(test)]
#[path = "netem_tests.rs"]
mod tests;
