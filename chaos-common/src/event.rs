//! Sampled fault events, as they come through the ring buffer.

use crate::layout::shared;

shared! {
    /// One packet (or call) that a rule acted on.
    pub struct Event [72] {
        /// CLOCK_BOOTTIME in ns.
        pub time: u64,
        /// The rule's decision number; 0 for rules that act on every match.
        pub sequence: u64,
        /// This side's address; IPv4 in the first word, network byte order.
        pub local: [u32; 4],
        /// The other side's address.
        pub remote: [u32; 4],
        /// Slot of the rule.
        pub slot: u32,
        /// Device, 0 for calls.
        pub ifindex: u32,
        /// Length of the packet, link layer included; segments of one GSO packet count as one.
        pub length: u32,
        /// 0 where the protocol has no ports.
        pub local_port: u16,
        /// As above.
        pub remote_port: u16,
        /// IP protocol number.
        pub protocol: u8,
        /// 4 or 6.
        pub family: u8,
        /// A [`crate::Hook`].
        pub hook: u8,
        /// [`crate::rule::action`] that was applied.
        pub action: u8,
        /// 0.
        pub reserved: u32,
    }
}

/// The first this many events of a rule (per CPU) are all reported, later ones only every
/// [`SAMPLE`]th.
pub const UNSAMPLED: u64 = 256;

/// See [`UNSAMPLED`]; a power of two.
pub const SAMPLE: u64 = 64;
