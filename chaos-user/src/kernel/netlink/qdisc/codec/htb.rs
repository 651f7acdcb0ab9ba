//! htb: classes that share a rate; here it is as often only a way to steer packets by class.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext as _, Nla, NlaBuffer, NlasIterator, Parseable,
    parse_u32, parse_u64,
};
use netlink_packet_route::tc::TcAttribute;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::rate::TcRateSpec;
use super::raw::{attribute, read};

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_CTAB: u16 = 3;
const TCA_HTB_RTAB: u16 = 4;
const TCA_HTB_DIRECT_QLEN: u16 = 5;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
// 8 is TCA_HTB_PAD; it lands in `Other`.
const TCA_HTB_OFFLOAD: u16 = 9;

/// `struct tc_htb_glob`, the parameters of the qdisc.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcHtbGlob {
    /// Must be [`Self::VERSION`] in requests. Dumps say 0x30011, which a request must not repeat.
    pub version: u32,
    /// Divides a class's rate into its quantum where none is given.
    pub rate2quantum: u32,
    /// Minor number of the class for packets that name none; 0 lets them pass unshaped.
    pub default_class: u32,
    /// Unused.
    pub debug: u32,
    /// Only in dumps: packets that passed unshaped.
    pub direct_packets: u32,
}

impl TcHtbGlob {
    /// `TC_HTB_PROTOVER`
    pub const VERSION: u32 = 3;
}

/// `struct tc_htb_opt`, the parameters of a class.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcHtbOpt {
    /// The rate the class is sure of.
    pub rate: TcRateSpec,
    /// The rate it can borrow up to.
    pub ceil: TcRateSpec,
    /// Burst at `rate` as the time it takes to send it, in ticks of 64 ns.
    pub buffer: u32,
    /// Burst at `ceil`, likewise.
    pub cbuffer: u32,
    /// Bytes to send before the next class has its turn; 0 lets the kernel derive it.
    pub quantum: u32,
    /// Only in dumps: the height in the tree, 0 for a leaf.
    pub level: u32,
    /// Priority, 0 (first) to 7.
    pub prio: u32,
}

/// One attribute of htb's `TCA_OPTIONS`, of the qdisc or of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcQdiscHtbOption {
    /// `TCA_HTB_PARMS`, of a class.
    Parms(TcHtbOpt),
    /// `TCA_HTB_INIT`, of the qdisc.
    Init(TcHtbGlob),
    /// `TCA_HTB_CTAB`: times of packet sizes at `ceil`; not needed when a link layer is set.
    Ctab(Vec<u8>),
    /// `TCA_HTB_RTAB`: times of packet sizes at `rate`; not needed when a link layer is set.
    Rtab(Vec<u8>),
    /// `TCA_HTB_DIRECT_QLEN`: queue length in packets of what passes unshaped.
    DirectQlen(u32),
    /// `TCA_HTB_RATE64`: bytes per second.
    Rate64(u64),
    /// `TCA_HTB_CEIL64`: bytes per second.
    Ceil64(u64),
    /// `TCA_HTB_OFFLOAD`: a flag. Linux 5.12.
    Offload,
    /// An attribute this crate does not know.
    Other(DefaultNla),
}

impl Nla for TcQdiscHtbOption {
    fn value_len(&self) -> usize {
        match self {
            Self::Parms(_) => size_of::<TcHtbOpt>(),
            Self::Init(_) => size_of::<TcHtbGlob>(),
            Self::Ctab(table) | Self::Rtab(table) => table.len(),
            Self::DirectQlen(_) => size_of::<u32>(),
            Self::Rate64(_) | Self::Ceil64(_) => size_of::<u64>(),
            Self::Offload => 0,
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Parms(_) => TCA_HTB_PARMS,
            Self::Init(_) => TCA_HTB_INIT,
            Self::Ctab(_) => TCA_HTB_CTAB,
            Self::Rtab(_) => TCA_HTB_RTAB,
            Self::DirectQlen(_) => TCA_HTB_DIRECT_QLEN,
            Self::Rate64(_) => TCA_HTB_RATE64,
            Self::Ceil64(_) => TCA_HTB_CEIL64,
            Self::Offload => TCA_HTB_OFFLOAD,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Parms(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Init(v) => buffer.copy_from_slice(v.as_bytes()),
            Self::Ctab(table) | Self::Rtab(table) => buffer.copy_from_slice(table),
            Self::DirectQlen(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Rate64(v) | Self::Ceil64(v) => buffer.copy_from_slice(&v.to_ne_bytes()),
            Self::Offload => {}
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&'a T>> for TcQdiscHtbOption {
    fn parse(nla: &NlaBuffer<&'a T>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match nla.kind() {
            TCA_HTB_PARMS => Self::Parms(read(value).context("invalid TCA_HTB_PARMS")?),
            TCA_HTB_INIT => Self::Init(read(value).context("invalid TCA_HTB_INIT")?),
            TCA_HTB_CTAB => Self::Ctab(value.to_vec()),
            TCA_HTB_RTAB => Self::Rtab(value.to_vec()),
            TCA_HTB_DIRECT_QLEN => {
                Self::DirectQlen(parse_u32(value).context("invalid TCA_HTB_DIRECT_QLEN")?)
            }
            TCA_HTB_RATE64 => Self::Rate64(parse_u64(value).context("invalid TCA_HTB_RATE64")?),
            TCA_HTB_CEIL64 => Self::Ceil64(parse_u64(value).context("invalid TCA_HTB_CEIL64")?),
            TCA_HTB_OFFLOAD => Self::Offload,
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

/// `TCA_OPTIONS` of an htb qdisc.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcQdiscHtb {
    /// The attributes.
    pub options: Vec<TcQdiscHtbOption>,
}

/// `TCA_OPTIONS` of an htb class: the same attributes, of which other ones are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcClassHtb {
    /// The attributes.
    pub options: Vec<TcQdiscHtbOption>,
}

macro_rules! attribute_list {
    ($name:ident) => {
        impl $name {
            /// `TCA_KIND`
            pub const KIND: &'static str = "htb";

            /// Options made of attributes.
            pub fn new(options: Vec<TcQdiscHtbOption>) -> Self {
                Self { options }
            }
        }

        impl Emitable for $name {
            fn buffer_len(&self) -> usize {
                self.options.as_slice().buffer_len()
            }

            fn emit(&self, buffer: &mut [u8]) {
                self.options.as_slice().emit(buffer);
            }
        }

        impl Parseable<[u8]> for $name {
            fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
                let options = NlasIterator::new(payload)
                    .map(|nla| TcQdiscHtbOption::parse(&nla?))
                    .collect::<Result<_, _>>()?;
                Ok(Self { options })
            }
        }

        impl From<&$name> for TcAttribute {
            fn from(options: &$name) -> Self {
                attribute(options)
            }
        }
    };
}

attribute_list!(TcQdiscHtb);
attribute_list!(TcClassHtb);

#[cfg(test)]
#[path = "htb_tests.rs"]
mod tests;
