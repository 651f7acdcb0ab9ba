//! `TCA_NETEM_LOSS`: the loss models that have states.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, ErrorContext as _, Nla, NlaBuffer, NlasIterator,
    Parseable,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::raw::read;

const NETEM_LOSS_GI: u16 = 1;
const NETEM_LOSS_GE: u16 = 2;

/// `struct tc_netem_gimodel`: four states ("general and intuitive"). Every field is a probability
/// with `u32::MAX` as 100 %.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemGiModel {
    /// From "received in a gap" to "lost in a burst".
    pub p13: u32,
    /// From "lost in a burst" back to "received in a gap".
    pub p31: u32,
    /// From "lost in a burst" to "received in a burst".
    pub p32: u32,
    /// From "received in a gap" to "lost alone".
    pub p14: u32,
    /// From "received in a burst" to "lost in a burst".
    pub p23: u32,
}

/// `struct tc_netem_gemodel`: Gilbert-Elliott. Every field is a probability with `u32::MAX` as 100 %.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcNetemGeModel {
    /// From the good to the bad state.
    pub p: u32,
    /// From the bad to the good state.
    pub r: u32,
    /// Delivery in the bad state. `tc` asks for the loss there (1-h) and sends its complement.
    pub h: u32,
    /// Loss in the good state (1-k).
    pub k1: u32,
}

/// One attribute inside `TCA_NETEM_LOSS`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcNetemLoss {
    /// `NETEM_LOSS_GI`
    Gi(TcNetemGiModel),
    /// `NETEM_LOSS_GE`
    Ge(TcNetemGeModel),
    /// A model this crate does not know.
    Other(DefaultNla),
}

impl Nla for TcNetemLoss {
    fn value_len(&self) -> usize {
        match self {
            Self::Gi(_) => size_of::<TcNetemGiModel>(),
            Self::Ge(_) => size_of::<TcNetemGeModel>(),
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Gi(_) => NETEM_LOSS_GI,
            Self::Ge(_) => NETEM_LOSS_GE,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Gi(model) => buffer.copy_from_slice(model.as_bytes()),
            Self::Ge(model) => buffer.copy_from_slice(model.as_bytes()),
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&'a T>> for TcNetemLoss {
    fn parse(nla: &NlaBuffer<&'a T>) -> Result<Self, DecodeError> {
        Ok(match nla.kind() {
            NETEM_LOSS_GI => Self::Gi(read(nla.value()).context("invalid NETEM_LOSS_GI")?),
            NETEM_LOSS_GE => Self::Ge(read(nla.value()).context("invalid NETEM_LOSS_GE")?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

pub(super) fn parse_all(payload: &[u8]) -> Result<Vec<TcNetemLoss>, DecodeError> {
    NlasIterator::new(payload).map(|nla| TcNetemLoss::parse(&nla?)).collect()
}

pub(super) fn value_len(models: &[TcNetemLoss]) -> usize {
    models.buffer_len()
}

pub(super) fn emit(models: &[TcNetemLoss], buffer: &mut [u8]) {
    models.emit(buffer);
}
