//! What the kernel calls `TCA_OPTIONS`, one file per kind of qdisc.
//!
//! The types are named and laid out like the `tc` module of netlink-packet-route, which has none of
//! these kinds yet: a public struct that is [`Emitable`](netlink_packet_core::Emitable) and
//! [`Parseable`](netlink_packet_core::Parseable), and unknown attributes kept in an `Other` variant.
//! They differ from its other kinds in one way: several of these options are a C structure *followed
//! by* attributes, which `TcAttribute::Options(Vec<TcOption>)` cannot express, so each type emits the
//! whole value of `TCA_OPTIONS` and converts into a [`TcAttribute`](netlink_packet_route::tc::TcAttribute)
//! that carries it as bytes.

mod clsact;
mod htb;
mod loss;
mod netem;
mod prio;
mod rate;
mod raw;
mod tbf;

pub use self::clsact::TcQdiscClsact;
pub use self::htb::{TcClassHtb, TcHtbGlob, TcHtbOpt, TcQdiscHtb, TcQdiscHtbOption};
pub use self::loss::{TcNetemGeModel, TcNetemGiModel, TcNetemLoss};
pub use self::netem::{
    TcNetemCorr, TcNetemCorrupt, TcNetemQopt, TcNetemRate, TcNetemReorder, TcNetemSlot,
    TcQdiscNetem, TcQdiscNetemOption,
};
pub use self::prio::TcQdiscPrio;
pub use self::rate::{LINK_LAYER_ETHERNET, TcRateSpec};
pub use self::tbf::{TcQdiscTbf, TcQdiscTbfOption, TcTbfQopt};

/// The value of `emitable` as bytes.
pub(crate) fn to_bytes(emitable: &impl netlink_packet_core::Emitable) -> Vec<u8> {
    let mut bytes = vec![0; emitable.buffer_len()];
    emitable.emit(&mut bytes);
    bytes
}

/// Bytes from hexadecimal digits; blanks and everything else between them is ignored.
#[cfg(test)]
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        digits.chars().filter_map(|c| c.to_digit(16)).map(|nibble| nibble as u8).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
