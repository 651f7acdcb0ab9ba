//! Tuple-space search: which rules a packet matches, at a cost that depends on the number of
//! distinct masks and not on the number of rules.

use crate::layout::shared;
use crate::{Hook, MAX_MASKS};

shared! {
    /// Which parts of a packet one group of rules looks at. Parts that are masked out are zero in
    /// the [`RuleKey`].
    pub struct Mask [48] {
        /// Bits of the local address, network byte order.
        pub local: [u32; 4],
        /// Bits of the remote address.
        pub remote: [u32; 4],
        /// Bits of the local port.
        pub local_port: u16,
        /// Bits of the remote port.
        pub remote_port: u16,
        /// 0 or all ones.
        pub ifindex: u32,
        /// 0 or all ones.
        pub protocol: u8,
        /// 0 or all ones; set when the rules name addresses.
        pub family: u8,
        /// 0: any cgroup. Otherwise 1 + the depth below the root at which the ancestor of the
        /// socket's cgroup is compared.
        pub cgroup_level: u8,
        /// 0.
        pub reserved: [u8; 5],
    }

    /// A packet seen through a [`Mask`].
    pub struct RuleKey [56] {
        /// Masked local address.
        pub local: [u32; 4],
        /// Masked remote address.
        pub remote: [u32; 4],
        /// Id of the cgroup's ancestor at the mask's level, or 0.
        pub cgroup: u64,
        /// Masked port, host byte order.
        pub local_port: u16,
        /// Masked port, host byte order.
        pub remote_port: u16,
        /// Device or 0.
        pub ifindex: u32,
        /// IP protocol number or 0.
        pub protocol: u8,
        /// 4, 6 or 0.
        pub family: u8,
        /// [`mask_index`] of the mask, low half: bank, hook and position.
        pub mask: u16,
        /// 0.
        pub reserved: u32,
    }
}

/// Entries of the mask table.
pub const MASKS: u32 = (crate::BANKS * crate::HOOKS * MAX_MASKS) as u32;

/// Where the mask table keeps mask number `position` of a bank and hook.
pub const fn mask_index(bank: usize, hook: Hook, position: usize) -> u32 {
    ((bank * crate::HOOKS + hook.index()) * MAX_MASKS + position) as u32
}
