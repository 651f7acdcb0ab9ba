//! Whether a rule acts now.
//!
//! The loops here are functions of their own to the verifier: it checks a global function once, for
//! any arguments, and an ordinary one again for every path that leads to it. Checked that way, they
//! took most of the million instructions that it looks at before it gives up.

use chaos_common::rule::{Rule, action, loss};
use chaos_common::{decide as common, police as bucket};

use crate::maps::{RULES, SEQUENCES};
use crate::packet::Packet;
use crate::{atomic, clock};

/// Steps of a contended chain or bucket before the packet is let through undecided.
const ATTEMPTS: usize = 8;

/// The rule does not act; no decision has this number.
const NO: u64 = u64::MAX;

/// The decision number if the rule, number `at` of [`RULES`], acts now.
#[inline(always)]
pub fn decide(rule: &Rule, at: u32) -> Option<u64> {
    // A corruption needs the number even then: it chooses the bit.
    if rule.loss == loss::ALWAYS && rule.action != action::CORRUPT {
        return Some(0);
    }
    let sequence = chaos_decide(at);
    (sequence != NO).then_some(sequence)
}

/// `Some(0)` if the packet exceeds the rate of the rule, number `at` of [`RULES`].
#[inline(always)]
pub fn police(at: u32, packet: &Packet) -> Option<u64> {
    (chaos_police(at, packet.length) != 0).then_some(0)
}

/// The number of the decision, or [`NO`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_decide(at: u32) -> u64 {
    let Some(rule) = RULES.get(at) else { return NO };
    let Some(sequence) = SEQUENCES.get_ptr_mut(rule.slot) else { return NO };
    if rule.loss == loss::GILBERT_ELLIOTT {
        // SAFETY: map memory; a stale value only costs an attempt.
        let mut state = unsafe { core::ptr::read_volatile(sequence) };
        for _ in 0..ATTEMPTS {
            let (next, lost) = common::gilbert_elliott(rule.seed, state, &rule.parameters);
            // SAFETY: map memory, aligned to eight bytes.
            let before = unsafe { atomic::compare_exchange(sequence, state, next) };
            if before == state {
                return if lost { state >> 1 } else { NO };
            }
            state = before;
        }
        return NO;
    }
    // SAFETY: map memory, aligned to eight bytes.
    let n = unsafe { atomic::fetch_add(sequence, 1) };
    if common::stateless(rule, n) { n } else { NO }
}

/// 1 if a packet of `length` bytes exceeds the rule's rate.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_police(at: u32, length: u32) -> u32 {
    let Some(rule) = RULES.get(at) else { return 0 };
    let Some(place) = SEQUENCES.get_ptr_mut(rule.slot) else { return 0 };
    let [per_byte, burst] = rule.amount;
    let cost = bucket::cost(per_byte, length as u64);
    let now = clock::exact();
    // SAFETY: map memory; a stale value only costs an attempt.
    let mut state = unsafe { core::ptr::read_volatile(place) };
    for _ in 0..ATTEMPTS {
        let (next, conforms) = bucket::conforms(state, now, cost, burst);
        if !conforms {
            return 1;
        }
        // SAFETY: map memory, aligned to eight bytes.
        let before = unsafe { atomic::compare_exchange(place, state, next) };
        if before == state {
            return 0;
        }
        state = before;
    }
    0
}
