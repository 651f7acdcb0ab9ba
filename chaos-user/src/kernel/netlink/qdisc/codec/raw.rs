//! Shared pieces of the codecs: fixed structures, and options wrapped for a `TcMessage`.

use netlink_packet_core::{DecodeError, DefaultNla, Emitable};
use netlink_packet_route::tc::TcAttribute;
use zerocopy::FromBytes;

const TCA_OPTIONS: u16 = 2;

/// Reads a C structure from the front of `payload`; a newer kernel may have appended fields.
pub(super) fn read<T: FromBytes>(payload: &[u8]) -> Result<T, DecodeError> {
    T::read_from_prefix(payload)
        .map(|(value, _)| value)
        .map_err(|_| DecodeError::buffer_too_small(payload.len(), size_of::<T>()))
}

/// `TCA_OPTIONS` with the emitted bytes of `options` as its value.
pub(super) fn attribute(options: &impl Emitable) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, super::to_bytes(options)))
}
