//! Counters: the evidence that a fault acted. All live in per-CPU arrays.

use crate::layout::shared;

shared! {
    /// What one rule did. Indexed by the rule's slot, which survives bank flips.
    pub struct RuleCounters [32] {
        /// Packets (or calls) that the selector chose while the rule was in its time window.
        pub matched: u64,
        /// Matched ones that the action was applied to.
        pub acted: u64,
        /// Bytes of the packets acted on, link layer included.
        pub bytes: u64,
        /// Fault events that found the ring buffer full.
        pub events_lost: u64,
    }

    /// What one hook saw while armed.
    pub struct HookCounters [72] {
        /// IP packets (or calls) classified.
        pub seen: u64,
        /// Packets that are never touched: not IP, neighbour discovery, headers cut short.
        pub exempt: u64,
        /// Classified without a flow cache entry.
        pub misses: u64,
        /// Packets that matched more rules than [`crate::MAX_MATCHES`]; the surplus did nothing.
        pub overflow: u64,
        /// Matched packets let through because the lease had run out.
        pub lease_expired: u64,
        /// Rejects that could not be built and became silent drops.
        pub reject_failed: u64,
        /// Packets let through although a rule wanted to send them on a detour: none is set for
        /// this device, it is gone or too narrow, or its lease has run out.
        pub detour_failed: u64,
        /// Packets that came back from a detour.
        pub returned: u64,
        /// Copies, or corruptions, that could not be made.
        pub change_failed: u64,
    }
}

impl RuleCounters {
    /// Adds what another CPU counted.
    pub fn add(&mut self, other: &Self) {
        let Self { matched, acted, bytes, events_lost } = other;
        self.matched = self.matched.wrapping_add(*matched);
        self.acted = self.acted.wrapping_add(*acted);
        self.bytes = self.bytes.wrapping_add(*bytes);
        self.events_lost = self.events_lost.wrapping_add(*events_lost);
    }
}

impl HookCounters {
    /// Adds what another CPU counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            seen,
            exempt,
            misses,
            overflow,
            lease_expired,
            reject_failed,
            detour_failed,
            returned,
            change_failed,
        } = other;
        self.seen = self.seen.wrapping_add(*seen);
        self.exempt = self.exempt.wrapping_add(*exempt);
        self.misses = self.misses.wrapping_add(*misses);
        self.overflow = self.overflow.wrapping_add(*overflow);
        self.lease_expired = self.lease_expired.wrapping_add(*lease_expired);
        self.reject_failed = self.reject_failed.wrapping_add(*reject_failed);
        self.detour_failed = self.detour_failed.wrapping_add(*detour_failed);
        self.returned = self.returned.wrapping_add(*returned);
        self.change_failed = self.change_failed.wrapping_add(*change_failed);
    }
}
