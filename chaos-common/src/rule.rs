//! What a rule does with the packets that its selector chose.

use crate::layout::shared;

shared! {
    /// One rule of a bank. What a packet needs that only passes comes first, in one line of the
    /// processor's cache: a rule that no packet met for a while is not in the cache.
    pub struct Rule [96] {
        /// CLOCK_BOOTTIME in ns before which the rule is inert.
        pub not_before: u64,
        /// CLOCK_BOOTTIME in ns from which on the rule is inert: the kernel ends the fault.
        pub not_after: u64,
        /// Share of flows in 2^-32; [`crate::decide::ALL`] is every flow.
        pub flows: u64,
        /// Index of the counters and of the decision sequence; survives bank flips.
        pub slot: u32,
        /// [`action`].
        pub action: u8,
        /// [`loss`].
        pub loss: u8,
        /// [`connections`].
        pub connections: u8,
        /// [`reject`].
        pub reject: u8,
        /// Seeds this rule's decisions; differs between the rules of a run.
        pub seed: u64,
        /// Parameters of [`loss`]: see there.
        pub parameters: [u64; 4],
        /// For [`action::POLICE`]: the cost of a byte as [`crate::police::cost`] takes it, and the
        /// burst in [`crate::police::UNITS_PER_NS`]. For [`action::DUPLICATE`]: the number of
        /// copies, and 0.
        pub amount: [u64; 2],
        /// For [`action::REJECT`] at connect time: the errno, positive.
        pub errno: u16,
        /// [`corrupt`].
        pub corrupt: u8,
        /// 0.
        pub reserved: [u8; 5],
    }
}

/// Values of [`Rule::action`], by descending precedence: of the rules that one packet matches,
/// [`PROTECT`] silences all others, any [`REJECT`] that decides to act wins over losses, and a
/// packet is lost when any [`DROP`] or [`POLICE`] rule decides so. Each of these takes its own
/// decision and counts its own match.
///
/// Only a packet that is not lost meets the rest, in this order: it is corrupted once, if any
/// [`CORRUPT`] rule decides so; the copies of all [`DUPLICATE`] rules that decide so are added up
/// (see [`MAX_COPIES`]); and it takes one detour after the other for every [`DETOUR`] rule that
/// decides so, so that delays add up. Copies take the same detours.
pub mod action {
    /// Packets of protected flows meet no other rule.
    pub const PROTECT: u8 = 1;
    /// The sender is told.
    pub const REJECT: u8 = 2;
    /// The packet is lost as a network loses packets: nobody is told.
    pub const DROP: u8 = 3;
    /// What exceeds a rate is lost.
    pub const POLICE: u8 = 4;
    /// A bit of the packet is flipped.
    pub const CORRUPT: u8 = 5;
    /// The packet is sent more than once.
    pub const DUPLICATE: u8 = 6;
    /// The packet goes by way of a device that holds it, and comes back.
    pub const DETOUR: u8 = 7;

    /// Copies of one packet, over all rules.
    pub const MAX_COPIES: u64 = 8;
}

/// Values of [`Rule::corrupt`]: what the receiver can know of it.
pub mod corrupt {
    /// The transport checksum does not fit: the receiver discards the packet.
    pub const DETECTED: u8 = 0;
    /// The transport checksum fits: the application reads wrong bytes.
    pub const SILENT: u8 = 1;
}

/// Values of [`Rule::loss`]: when a matching packet is acted on.
pub mod loss {
    /// Every packet; no parameters.
    pub const ALWAYS: u8 = 0;
    /// Independently; `parameters[0]` is the probability in 2^-32.
    pub const RANDOM: u8 = 1;
    /// Exactly a share of each block of packets; `parameters[0]` is the share in parts per 10^9.
    pub const EXACT: u8 = 2;
    /// Every n-th packet; `parameters[0]` is n.
    pub const EVERY_NTH: u8 = 3;
    /// Gilbert-Elliott bursts; the parameters are, in 2^-32, the probabilities of good → bad,
    /// bad → good, loss in bad, loss in good.
    pub const GILBERT_ELLIOTT: u8 = 4;
}

/// Values of [`Rule::connections`].
pub mod connections {
    /// Any packet.
    pub const ANY: u8 = 0;
    /// TCP connections whose handshake began after the rule's `not_before`.
    pub const NEW: u8 = 1;
    /// TCP connections that were there before.
    pub const ESTABLISHED: u8 = 2;
}

/// Values of [`Rule::reject`]: what answers a rejected packet.
pub mod reject {
    /// RST to TCP, ICMP port unreachable to everything else.
    pub const AUTO: u8 = 0;
    /// ICMP port unreachable, to TCP too.
    pub const PORT_UNREACHABLE: u8 = 1;
    /// ICMP host (v6: address) unreachable.
    pub const HOST_UNREACHABLE: u8 = 2;
    /// ICMP network unreachable (v6: no route).
    pub const NET_UNREACHABLE: u8 = 3;
    /// ICMP administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 4;
}
