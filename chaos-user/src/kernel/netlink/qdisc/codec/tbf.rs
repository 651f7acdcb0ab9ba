//! tbf: a token bucket that limits the rate.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext as _, Nla, NlaBuffer, NlasIterator, Parseable,
    parse_u32, parse_u64,
};
use netlink_packet_route::tc::TcAttribute;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::rate::TcRateSpec;
use super::raw::{attribute, read};

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RTAB: u16 = 2;
const TCA_TBF_PTAB: u16 = 3;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_PRATE64: u16 = 5;
const TCA_TBF_BURST: u16 = 6;
const TCA_TBF_PBURST: u16 = 7;

/// `struct tc_tbf_qopt`
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcTbfQopt {
    /// The rate tokens come in.
    pub rate: TcRateSpec,
    /// The rate a burst leaves at; a rate of 0 for no bound.
    pub peak_rate: TcRateSpec,
    /// Queue length in bytes.
    pub limit: u32,
    /// Size of the bucket as the time it takes to send it, in ticks of 64 ns.
    pub buffer: u32,
    /// Size of the peak bucket, likewise.
    pub mtu: u32,
}

/// One attribute of tbf's `TCA_OPTIONS`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcQdiscTbfOption {
    /// `TCA_TBF_PARMS`
    Parms(TcTbfQopt),
    /// `TCA_TBF_RTAB`: times of packet sizes, which current kernels check for presence at most.
    Rtab(Vec<u8>),
    /// `TCA_TBF_PTAB`: likewise for the peak rate.
    Ptab(Vec<u8>),
    /// `TCA_TBF_RATE64`: bytes per second.
    Rate64(u64),
    /// `TCA_TBF_PRATE64`: bytes per second.
    PeakRate64(u64),
    /// `TCA_TBF_BURST`: size of the bucket in bytes; wins over the ticks. Never dumped.
    Burst(u32),
    /// `TCA_TBF_PBURST`: size of the peak bucket in bytes. Never dumped.
    PeakBurst(u32),
    /// An attribute this crate does not know.
    Other(DefaultNla),
}

impl Nla for TcQdiscTbfOption {
    fn value_len(&self) -> usize {
        match self {
            Self::Parms(_) => size_of::<TcTbfQopt>(),
            Self::Rtab(table) | Self::Ptab(table) => table.len(),
            Self::Rate64(_) | Self::PeakRate64(_) => size_of::<u64>(),
            Self::Burst(_) | Self::PeakBurst(_) => size_of::<u32>(),
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Parms(_) => TCA_TBF_PARMS,
            Self::Rtab(_) => TCA_TBF_RTAB,
            Self::Ptab(_) => TCA_TBF_PTAB,
            Self::Rate64(_) => TCA_TBF_RATE64,
            Self::PeakRate64(_) => TCA_TBF_PRATE64,
            Self::Burst(_) => TCA_TBF_BURST,
            Self::PeakBurst(_) => TCA_TBF_PBURST,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Parms(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Rtab(table) | Self::Ptab(table) => buffer.copy_from_slice(table),
            Self::Rate64(v) | Self::PeakRate64(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Burst(v) | Self::PeakBurst(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&'a T>> for TcQdiscTbfOption {
    fn parse(nla: &NlaBuffer<&'a T>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match nla.kind() {
            TCA_TBF_PARMS => Self::Parms(read(value).context("invalid TCA_TBF_PARMS")?),
            TCA_TBF_RTAB => Self::Rtab(value.to_vec()),
            TCA_TBF_PTAB => Self::Ptab(value.to_vec()),
            TCA_TBF_RATE64 => Self::Rate64(parse_u64(value).context("invalid TCA_TBF_RATE64")?),
            TCA_TBF_PRATE64 => {
                Self::PeakRate64(parse_u64(value).context("invalid TCA_TBF_PRATE64")?)
            }
            TCA_TBF_BURST => Self::Burst(parse_u32(value).context("invalid TCA_TBF_BURST")?),
            TCA_TBF_PBURST => Self::PeakBurst(parse_u32(value).context("invalid TCA_TBF_PBURST")?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

/// tbf's `TCA_OPTIONS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcQdiscTbf {
    /// The attributes.
    pub options: Vec<TcQdiscTbfOption>,
}

impl TcQdiscTbf {
    /// `TCA_KIND`
    pub const KIND: &'static str = "tbf";

    /// Options made of attributes.
    pub fn new(options: Vec<TcQdiscTbfOption>) -> Self {
        Self { options }
    }
}

impl Emitable for TcQdiscTbf {
    fn buffer_len(&self) -> usize {
        self.options.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.options.as_slice().emit(buffer);
    }
}

impl Parseable<[u8]> for TcQdiscTbf {
    fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let options = NlasIterator::new(payload)
            .map(|nla| TcQdiscTbfOption::parse(&nla?))
            .collect::<Result<_, _>>()?;
        Ok(Self { options })
    }
}

impl From<&TcQdiscTbf> for TcAttribute {
    fn from(options: &TcQdiscTbf) -> Self {
        attribute(options)
    }
}

#[cfg(test)]
#[path = "tbf_tests.rs"]
mod tests;
