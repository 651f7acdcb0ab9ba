//! What happens to a packet that matched.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::{bpf_loop, bpf_redirect};
use chaos_common::flow::{FlowEntry, Matches, NO_RULE};
use chaos_common::rule::{Rule, action};
use chaos_common::{HOOKS, Hook, token};
use core::ffi::c_void;

use crate::classify::{self, Serving, hook_counters, serving};
use crate::clock::Now;
use crate::decide::{decide, police};
use crate::maps::{HOOK_COUNTERS, RULE_COUNTERS, RULES, SCRATCH, Scratch, rule_index};
use crate::packet::{Link, Packet};
use crate::{back, change, event, reject, trace};

/// Lets the next program or filter decide: TCX_NEXT, and TC_ACT_UNSPEC to clsact. Anything else
/// would silence programs of other tools.
pub const TC_NEXT: i32 = -1;

/// `cgroup_skb` lets the packet pass.
const CGROUP_PASS: i32 = 1;
const CGROUP_DROP: i32 = 0;

/// No device has this index. Redirecting there frees the packet and reports success to the sender,
/// which is what a loss further down the network looks like. TC_ACT_SHOT would tell the local TCP,
/// and TCX turns TC_ACT_STOLEN into "next program".
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c#L2517>
const NOWHERE: u32 = 0x7fff_ffff;

/// The outcome over all rules that a packet matched, in one register. One of [`action::CORRUPT`] and
/// beyond says only that there are rules that change packets.
#[derive(Clone, Copy)]
pub struct Effect(pub u64);

impl Effect {
    #[inline(always)]
    pub const fn of(rule: &Rule) -> Self {
        let answer = (rule.reject as u64) << 8 | (rule.errno as u64) << 16;
        Self(rule.action as u64 | answer | (rule.slot as u64) << 32)
    }

    /// Of the rule that decided.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// An [`action`], or 0.
    #[inline(always)]
    pub const fn action(self) -> u8 {
        self.0 as u8
    }

    /// Of the rule that rejects.
    #[inline(always)]
    pub const fn reject(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Of the rule that rejects.
    #[inline(always)]
    pub const fn errno(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Entry of the tc programs.
#[inline(always)]
pub fn tc(skb: *mut __sk_buff, link: Link, hook: Hook) -> i32 {
    // SAFETY: the kernel hands every program a valid context.
    let mark = unsafe { (*skb).tc_index };
    let token = if token::is_token(mark) { mark } else { 0 };
    if token != 0 && !back::take(skb, token, hook) {
        return TC_NEXT;
    }
    let Some(serving) = serving() else { return TC_NEXT };
    let turn = if token == 0 { 0 } else { HOOKS as u32 };
    let place = turn + hook as u32;
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return TC_NEXT };
    let first = token == 0;
    let Some(found) = classify::packet(skb, link, hook, first, &serving, place, scratch) else {
        return TC_NEXT;
    };
    // SAFETY: per-CPU memory that only this program uses while it runs, and not before `chaos_change`.
    let Scratch { packet, change, .. } = unsafe { &mut *scratch };
    if first {
        let effect = Effect(apply(packet, found, &serving));
        trace::effect(place, effect, &serving);
        match effect.action() {
            action::REJECT => {
                let code = reject::answer(skb, packet, link == Link::Ethernet, effect.reject());
                if code != reject::NO_ANSWER {
                    return code;
                }
                if let Some(counters) = hook_counters(hook) {
                    counters.reject_failed += 1;
                }
                return lose(hook);
            }
            action::DROP | action::POLICE => return lose(hook),
            0 => return TC_NEXT,
            _ => {}
        }
    }
    change.token = token;
    change.place = place as u16;
    change.matches = found.matches;
    change.count = found.count;
    let code = change::chaos_change(skb, place, serving.bank as u32);
    // SAFETY: as above, and `chaos_change` has returned.
    trace::changes(place, unsafe { &(*scratch).change }, &serving);
    code
}

/// Entry of the cgroup program.
#[inline(always)]
pub fn cgroup_ingress(skb: *mut __sk_buff) -> i32 {
    let Some(serving) = serving() else { return CGROUP_PASS };
    let hook = Hook::CgroupIngress;
    let place = hook as u32;
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return CGROUP_PASS };
    let Some(found) = classify::packet(skb, Link::None, hook, true, &serving, place, scratch)
    else {
        return CGROUP_PASS;
    };
    // SAFETY: per-CPU memory that nobody writes from here on.
    let packet = unsafe { &(*scratch).packet };
    let effect = Effect(apply(packet, found, &serving));
    trace::effect(place, effect, &serving);
    match effect.action() {
        // No answer can be built here: a reject of arriving packets is a loss.
        action::REJECT | action::DROP | action::POLICE => CGROUP_DROP,
        _ => CGROUP_PASS,
    }
}

/// Entry of the baseline of searches.
#[inline(always)]
pub fn lookup(skb: *mut __sk_buff) -> i32 {
    let hook = Hook::Egress;
    let Some(scratch) = SCRATCH.get_ptr_mut(hook as u32) else { return TC_NEXT };
    // SAFETY: per-CPU memory; only test runs get here.
    let packet = unsafe { &mut (*scratch).packet };
    match classify::lookup(skb, hook, packet) {
        Some(false) => TC_NEXT,
        _ => TC_ACT_SHOT,
    }
}

/// Drops the packet as a network would.
#[inline(always)]
pub fn lose(hook: Hook) -> i32 {
    if hook as u8 == Hook::Egress as u8 {
        // SAFETY: takes no pointer.
        unsafe { bpf_redirect(NOWHERE, 0) as i32 }
    } else {
        TC_ACT_SHOT
    }
}

/// Lets every matched rule decide and count, and merges what they want.
#[inline(always)]
pub fn apply(packet: &Packet, found: &FlowEntry, serving: &Serving) -> u64 {
    let now = Now::get();
    // SAFETY: the controller writes this word with one aligned store.
    let lease = unsafe { core::ptr::read_volatile(&raw const serving.control.lease) };
    if now.reached(lease) {
        if let Some(counters) = HOOK_COUNTERS.get_ptr_mut(packet.hook as u32) {
            // SAFETY: per-CPU memory.
            unsafe { (*counters).lease_expired += 1 };
        }
        return 0;
    }
    // Most flows match one rule, which is spared the call and, dearer, the return.
    if found.count == 1 {
        let effect = Effect(0);
        let mut step = Step { packet, matches: &found.matches, bank: serving.bank, now, effect };
        take_turn(0, &mut step);
        return step.effect.0;
    }
    // SAFETY: a word that nobody writes; see there why it is read.
    let effect =
        Effect(unsafe { core::ptr::read_volatile(&raw const serving.control.zero) }.into());
    let mut step = Step { packet, matches: &found.matches, bank: serving.bank, now, effect };
    // The verifier checks the body of a bpf_loop once, and an unrolled one for every place.
    // SAFETY: the callback gets the context that is passed here.
    unsafe {
        bpf_loop(found.count, one_rule as *mut c_void, (&raw mut step).cast(), 0);
    }
    step.effect.0
}

struct Step<'a> {
    packet: &'a Packet,
    matches: &'a Matches,
    bank: usize,
    now: Now,
    effect: Effect,
}

const CONTINUE: i64 = 0;
const BREAK: i64 = 1;

/// One rule's turn.
extern "C" fn one_rule(place: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes what `apply` gave it.
    take_turn(place, unsafe { &mut *context.cast::<Step<'_>>() })
}

#[inline(always)]
fn take_turn(place: u64, step: &mut Step<'_>) -> i64 {
    let index = step.matches.get(place as usize);
    if index == NO_RULE {
        return BREAK;
    }
    let at = rule_index(step.bank & 1, index);
    let Some(rule) = RULES.get(at) else { return BREAK };
    if rule.action >= action::CORRUPT {
        if step.effect.action() == 0 {
            step.effect = Effect(rule.action as u64);
        }
        return CONTINUE;
    }
    if !step.now.reached(rule.not_before) || step.now.reached(rule.not_after) {
        return CONTINUE;
    }
    let Some(counters) = RULE_COUNTERS.get_ptr_mut(rule.slot) else { return BREAK };
    // SAFETY: per-CPU memory.
    let counters = unsafe { &mut *counters };
    counters.matched += 1;
    if rule.action == action::REJECT && step.packet.is_refusal != 0 {
        return CONTINUE;
    }
    let decision =
        if rule.action == action::POLICE { police(at, step.packet) } else { decide(rule, at) };
    let Some(sequence) = decision else { return CONTINUE };
    counters.acted += 1;
    counters.bytes += step.packet.length as u64;
    event::record(step.packet, rule, sequence, counters);
    if step.effect.action() == 0 || rule.action < step.effect.action() {
        step.effect = Effect::of(rule);
    }
    CONTINUE
}
