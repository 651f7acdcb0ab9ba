//! `struct tc_ratespec`, shared by the qdiscs that shape.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `TC_LINKLAYER_ETHERNET`. With a link layer set the kernel computes times itself and needs none
/// of the rate tables that `tc` still sends. Linux 3.8.
pub const LINK_LAYER_ETHERNET: u8 = 1;

/// `struct tc_ratespec`
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TcRateSpec {
    /// Base-2 logarithm of the cell size of the rate table.
    pub cell_log: u8,
    /// Link layer in the lower four bits.
    pub link_layer: u8,
    /// Bytes added to each packet.
    pub overhead: u16,
    /// Alignment of the cells of the rate table.
    pub cell_align: i16,
    /// Smallest size a packet counts as.
    pub mpu: u16,
    /// Bytes per second; `u32::MAX` when a 64-bit attribute carries the rate.
    pub rate: u32,
}

impl TcRateSpec {
    /// `bytes_per_second` on Ethernet, saturating at `u32::MAX`.
    pub fn ethernet(bytes_per_second: u64) -> Self {
        Self {
            link_layer: LINK_LAYER_ETHERNET,
            rate: u32::try_from(bytes_per_second).unwrap_or(u32::MAX),
            ..Self::default()
        }
    }
}
