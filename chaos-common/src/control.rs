//! The control block: the one map that decides whether anything happens at all.

use crate::layout::shared;
use crate::{BANKS, HOOKS};

shared! {
    /// Shared through an `mmap`ed array of one element, so that arming, flipping banks and
    /// refreshing the lease are single stores.
    pub struct Control [72] {
        /// 0: disarmed, nothing is looked at. Otherwise see [`state`]: which bank serves, and the
        /// generation that flow cache entries must carry. Written last, as one aligned store.
        pub state: u64,
        /// CLOCK_BOOTTIME in ns after which every rule is inert, whoever may have forgotten it.
        pub lease: u64,
        /// Rules at [`crate::Hook::Connect`] act only in the network namespace with this cookie;
        /// 0 means in every one.
        pub netns_cookie: u64,
        /// Seeds the choice of flows, alike at both ends of a connection.
        pub flow_seed: u64,
        /// Used entries of the mask table, by bank and hook.
        pub masks: [[u8; HOOKS]; BANKS],
        /// [`flag`] bits, by bank.
        pub flags: [u32; BANKS],
        /// At most this many log lines per second and CPU; 0 is no log at all.
        pub trace_rate: u32,
        /// Always 0, which the verifier does not know. Before Linux 6.7 it follows the body of a
        /// `bpf_loop` once only, and takes out branches that the values of that turn do not enter:
        /// what a later turn changes has to begin with a value that it cannot know.
        pub zero: u32,
        /// CLOCK_BOOTTIME in ns after which no packet is sent on a detour: whoever holds packets
        /// back is not known to be alive.
        pub detour_lease: u64,
        /// [`crate::token`] tag, which no other live object has; 0 is none, and then nothing is
        /// duplicated or sent on a detour.
        pub tag: u64,
    }
}

/// Bits of [`Control::flags`]: what the serving bank's rules need to know about a packet. What no
/// rule needs is not looked up.
pub mod flag {
    /// Some rule distinguishes new from established TCP connections.
    pub const CONNECTIONS: u32 = 1;
    /// Some rule selects by cgroup.
    pub const CGROUP: u32 = 1 << 1;
    /// Some rule takes a share of the flows only.
    pub const FLOWS: u32 = 1 << 3;
    /// VLAN devices are classified themselves, so tagged packets on the device below are left
    /// alone: they would meet each rule twice.
    pub const SKIP_TAGGED: u32 = 1 << 2;
}

/// Packing of [`Control::state`].
pub mod state {
    /// Nothing is looked at.
    pub const DISARMED: u64 = 0;

    /// Bank `bank` (0 or 1) serves; `generation` differs from every earlier one.
    pub const fn armed(bank: usize, generation: u32) -> u64 {
        ((generation as u64) << 8) | (bank as u64 + 1)
    }

    /// The serving bank; call it only when the state is not [`DISARMED`].
    pub const fn bank(state: u64) -> usize {
        ((state & 0xff) as usize).wrapping_sub(1) & 1
    }

    /// The generation in `state`.
    pub const fn generation(state: u64) -> u32 {
        (state >> 8) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn state_round_trips_and_is_never_disarmed() {
        for bank in [0, 1] {
            for generation in [0, 1, 77, u32::MAX] {
                let packed = state::armed(bank, generation);
                assert_ne!(packed, state::DISARMED);
                assert_eq!((state::bank(packed), state::generation(packed)), (bank, generation));
            }
        }
    }
}
