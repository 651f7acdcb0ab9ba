//! Types that cross the kernel boundary, and the decisions both sides must make alike.
//!
//! The classifier in `chaos-ebpf` and the controller in `chaos-user` share every struct and every
//! seeded decision through this crate. All structs are `repr(C)` without padding, which the
//! `zerocopy::IntoBytes` derive proves at compile time, and have an asserted size.
#![cfg_attr(not(test), no_std)]
#![expect(
    clippy::inline_always,
    reason = "the verifier follows calls at a cost, and the kernel side must not make needless ones"
)]

mod layout;

pub mod control;
pub mod counter;
pub mod decide;
pub mod delays;
pub mod detour;
pub mod disk;
pub mod event;
pub mod flow;
pub mod police;
pub mod rule;
pub mod table;
pub mod token;

/// Where in the kernel a packet (or a connect call) is looked at.
///
/// A rule with direction `both` is installed under two hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// tc egress (TCX or clsact): leaving through a device.
    Egress = 0,
    /// tc ingress: arriving through a device.
    Ingress = 1,
    /// `cgroup_skb` ingress: about to be delivered to a socket of a cgroup.
    CgroupIngress = 2,
    /// `cgroup/connect*` and `cgroup/sendmsg*`: a process names its peer.
    Connect = 3,
}

impl Hook {
    /// Every hook, by ascending index.
    pub const ALL: [Self; 4] = [Self::Egress, Self::Ingress, Self::CgroupIngress, Self::Connect];

    /// Position in per-hook arrays.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How many hooks there are.
pub const HOOKS: usize = Hook::ALL.len();

/// Rules that one packet can match at once; the compiler of rules refuses plans that need more
/// under one key, and the classifier counts packets that would.
pub const MAX_MATCHES: usize = 8;

/// Distinct mask combinations per hook and bank. Every one costs a packet that misses the flow
/// cache one hash lookup.
pub const MAX_MASKS: usize = 32;

/// Banks: one serves packets while the other is filled.
pub const BANKS: usize = 2;
