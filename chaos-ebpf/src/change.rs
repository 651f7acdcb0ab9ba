//! What happens to a packet that matched and was not lost: it is corrupted, then copied, then sent
//! on a detour.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::generated::{bpf_check_mtu, bpf_clone_redirect, bpf_skb_change_head};
use aya_ebpf::helpers::{bpf_loop, bpf_redirect, bpf_skb_store_bytes, bpf_skb_vlan_push};
use chaos_common::detour::{Detour, DetourKey, measure, tci};
use chaos_common::flow::NO_RULE;
use chaos_common::rule::action::{self, MAX_COPIES};
use chaos_common::rule::{Rule, corrupt};
use chaos_common::{Hook, decide as draws, token};
use core::ffi::c_void;

use crate::act::{TC_NEXT, lose};
use crate::classify::{Serving, hook_counters, serving};
use crate::clock::Now;
use crate::corrupt::{LOST, chaos_corrupt};
use crate::decide::decide;
use crate::maps::{Change, DETOURS, RULE_COUNTERS, RULES, SCRATCH, Scratch, rule_index};
use crate::packet::Packet;
use crate::{event, number, timing};

const LOOPBACK_IFINDEX: u32 = 1;
const NONE: u32 = NO_RULE as u32;

/// Priorities below this survive a detour; greater ones name classes of a qdisc.
const PRIORITIES: u32 = 0x1000;

/// `TPID` of a tag, as the helper wants it.
pub const ETH_P_8021Q: u16 = 0x8100_u16.to_be();

/// Applies the rules that change packets, from the first on or, for one that comes back from a
/// detour, from the next on, to the packet of [`SCRATCH`]; the program's return code. A global function,
/// so that the verifier checks it once and not for every path that leads here.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn chaos_change(skb: *mut __sk_buff, place: u32, bank: u32) -> i32 {
    let Some(serving) = serving() else { return TC_NEXT };
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return TC_NEXT };
    // SAFETY: per-CPU memory that nobody else uses meanwhile, but for `chaos_corrupt`, which reads.
    let Scratch { packet, change, .. } = unsafe { &mut *scratch };
    let serving = Serving { bank: bank as usize & 1, ..serving };
    apply(skb, packet, change, &serving)
}

#[inline(always)]
fn apply(skb: *mut __sk_buff, packet: &Packet, change: &mut Change, serving: &Serving) -> i32 {
    collect(packet, change, serving);
    let hook = hook_of(packet);
    if change.corrupt_rule != NONE {
        let made = chaos_corrupt(skb, change.place.into());
        if made != 0 {
            acted(packet, change.corrupt_rule, change.corrupt_sequence, serving);
            change.corrupted = 1;
        } else {
            failed(hook);
        }
        if made == LOST {
            return lose(hook);
        }
    }
    let place = change.detour_place as u8;
    let way = if change.detour_rule == NONE { None } else { way(skb, packet, change, serving) };
    let way = match way {
        Some(way) if depart(skb, packet, way, place) => Some(way),
        _ => None,
    };
    if change.copies != 0 {
        copy(skb, packet, change.copies, way, serving);
    }
    match way {
        Some(way) => {
            acted(packet, change.detour_rule, change.detour_sequence, serving);
            change.detoured = 1;
            // SAFETY: takes no pointer.
            unsafe { bpf_redirect(way.ifindex, 0) as i32 }
        }
        None => TC_NEXT,
    }
}

#[inline(always)]
fn hook_of(packet: &Packet) -> Hook {
    if packet.hook == Hook::Ingress as u8 { Hook::Ingress } else { Hook::Egress }
}

#[inline(always)]
fn failed(hook: Hook) {
    if let Some(counters) = hook_counters(hook) {
        counters.change_failed += 1;
    }
}

/// Counts and reports that a rule acted.
#[inline(never)]
fn acted(packet: &Packet, index: u32, sequence: u64, serving: &Serving) {
    let Some(rule) = RULES.get(rule_index(serving.bank & 1, index as u16)) else { return };
    let Some(counters) = RULE_COUNTERS.get_ptr_mut(rule.slot) else { return };
    // SAFETY: per-CPU memory.
    let counters = unsafe { &mut *counters };
    counters.acted += 1;
    counters.bytes += packet.length as u64;
    event::record(packet, rule, sequence, counters);
}

struct Pass<'a> {
    packet: &'a Packet,
    change: &'a mut Change,
    bank: usize,
    now: Now,
}

/// Lets every matched rule that changes packets decide.
#[inline(always)]
fn collect(packet: &Packet, change: &mut Change, serving: &Serving) {
    change.copies = 0;
    change.corrupted = 0;
    change.detoured = 0;
    change.corrupt_rule = NONE;
    change.corrupt_kind = corrupt::SILENT as u32;
    change.detour_rule = NONE;
    let now = Now::get();
    // SAFETY: the controller writes this word with one aligned store.
    let lease = unsafe { core::ptr::read_volatile(&raw const serving.control.lease) };
    if now.reached(lease) {
        return;
    }
    let count = change.count;
    let mut pass = Pass { packet, change, bank: serving.bank, now };
    // The verifier checks the body of a bpf_loop once, and an unrolled one for every place.
    // SAFETY: the callback gets the context that is passed here.
    unsafe {
        bpf_loop(count, one_rule as *mut c_void, (&raw mut pass).cast(), 0);
    }
}

const CONTINUE: i64 = 0;
const BREAK: i64 = 1;

/// One rule's turn.
extern "C" fn one_rule(place: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes what `collect` gave it.
    let pass = unsafe { &mut *context.cast::<Pass<'_>>() };
    let index = pass.change.matches.get(place as usize);
    if index == NO_RULE {
        return BREAK;
    }
    let at = rule_index(pass.bank & 1, index);
    let Some(rule) = RULES.get(at) else { return BREAK };
    let change = &mut *pass.change;
    if rule.action < action::CORRUPT {
        return CONTINUE;
    }
    let back = change.token != 0;
    if back && (rule.action != action::DETOUR || place <= token::place(change.token) as u64) {
        return CONTINUE;
    }
    // The next ones have their turn when the packet is back.
    if rule.action == action::DETOUR && change.detour_rule != NONE {
        return CONTINUE;
    }
    if !pass.now.reached(rule.not_before) || pass.now.reached(rule.not_after) {
        return CONTINUE;
    }
    let Some(counters) = RULE_COUNTERS.get_ptr_mut(rule.slot) else { return BREAK };
    // SAFETY: per-CPU memory.
    let counters = unsafe { &mut *counters };
    counters.matched += 1;
    let Some(sequence) = decide(rule, at) else { return CONTINUE };
    match rule.action {
        action::CORRUPT => want_corruption(change, rule, index, sequence),
        action::DUPLICATE => {
            change.copies += rule.amount[0];
            counters.acted += 1;
            counters.bytes += pass.packet.length as u64;
            event::record(pass.packet, rule, sequence, counters);
        }
        _ => {
            change.detour_rule = index as u32;
            change.detour_place = place as u32;
            change.detour_sequence = sequence;
        }
    }
    CONTINUE
}

/// One bit is flipped, whatever the number of rules: what checksums detect goes before what they do
/// not, and then the first rule.
#[inline(always)]
fn want_corruption(change: &mut Change, rule: &Rule, index: u16, sequence: u64) {
    let kind = rule.corrupt as u32;
    let first = change.corrupt_rule == NONE;
    let goes_before = kind < change.corrupt_kind
        || kind == change.corrupt_kind && (index as u32) < change.corrupt_rule;
    if first || goes_before {
        change.corrupt_rule = index as u32;
        change.corrupt_kind = kind;
        change.corrupt_sequence = sequence;
        change.draw = draws::corruption(rule.seed, sequence);
    }
}

/// Where the packet goes, if it can.
#[inline(always)]
fn way(
    skb: *mut __sk_buff,
    packet: &Packet,
    change: &Change,
    serving: &Serving,
) -> Option<&'static Detour> {
    let rule = RULES.get(rule_index(serving.bank & 1, change.detour_rule as u16))?;
    let key = DetourKey { rule: rule.slot, ifindex: packet.ifindex, hook: packet.hook as u32 };
    // SAFETY: the controller replaces values whole.
    let way = unsafe { DETOURS.get(&key) };
    // SAFETY: the controller writes this word with one aligned store.
    let lease = unsafe { core::ptr::read_volatile(&raw const serving.control.detour_lease) };
    let open = way.filter(|way| {
        let mut mtu = 0u32;
        // SAFETY: the context is valid. Says too that there is such a device, which a redirect
        // does not.
        let fits = unsafe { bpf_check_mtu(skb.cast(), way.ifindex, &raw mut mtu, 0, 0) };
        fits == 0
            && serving.control.tag != 0
            && !Now::get().reached(lease)
            && (way.measure != measure::NUMBERED || number::has_room(way.queue))
    });
    if open.is_none()
        && let Some(counters) = hook_counters(hook_of(packet))
    {
        counters.detour_failed += 1;
    }
    open
}

/// Makes the packet ready for its way; false leaves it as it was, but for a time that said nothing.
#[inline(always)]
fn depart(skb: *mut __sk_buff, packet: &Packet, way: &Detour, place: u8) -> bool {
    // A device without link-layer headers: detours have them.
    if packet.network == 0 {
        const HEADER: u32 = 14;
        const ETHERTYPE: u32 = 12;
        // SAFETY: the context is valid.
        if unsafe { bpf_skb_change_head(skb, HEADER, 0) } != 0 {
            return false;
        }
        let ethertype =
            if packet.family == 4 { 0x0800_u16.to_be_bytes() } else { 0x86dd_u16.to_be_bytes() };
        // SAFETY: the source holds what is asked for, and the header was just made.
        unsafe {
            bpf_skb_store_bytes(skb.cast(), ETHERTYPE, ethertype.as_ptr().cast(), 2, 0);
        }
    }
    let timed = match way.measure {
        measure::STAMPED => timing::begin(skb, packet.hook == Hook::Egress as u8),
        measure::NUMBERED => number::begin(skb, way.queue),
        _ => false,
    };
    // SAFETY: the context is valid; a failure leaves the packet as it was.
    if unsafe { bpf_skb_vlan_push(skb, ETH_P_8021Q, tci(way.slot, place, timed)) } != 0 {
        if timed && way.measure == measure::NUMBERED {
            number::take_back(skb);
        }
        return false;
    }
    // SAFETY: the context is valid.
    unsafe {
        let own = (*skb).priority;
        (*skb).tc_index = if own < PRIORITIES { own } else { 0 };
        if way.priority != 0 {
            (*skb).priority = way.priority;
        }
    }
    true
}

/// Sends copies: on the same way, or on from here.
#[inline(always)]
fn copy(
    skb: *mut __sk_buff,
    packet: &Packet,
    copies: u64,
    way: Option<&Detour>,
    serving: &Serving,
) {
    let hook = hook_of(packet);
    let (ifindex, flags) = match way {
        Some(way) => (way.ifindex, 0),
        // On loopback a packet would lose its route on the way in, and be taken for a martian; so
        // its copies are sent once more.
        None if hook as u8 == Hook::Egress as u8 || packet.ifindex == LOOPBACK_IFINDEX => {
            (packet.ifindex, 0)
        }
        None => (packet.ifindex, u64::from(BPF_F_INGRESS)),
    };
    if serving.control.tag == 0 {
        failed(hook);
        return;
    }
    if way.is_none() {
        // SAFETY: the context is valid.
        unsafe {
            (*skb).tc_index = token::pack(serving.control.tag, hook, token::END) as u32;
        }
    }
    for made in 0..MAX_COPIES {
        if made >= copies {
            break;
        }
        // SAFETY: the context is valid.
        if unsafe { bpf_clone_redirect(skb, ifindex, flags) } != 0 {
            failed(hook);
        }
    }
    if way.is_none() {
        // SAFETY: the context is valid.
        unsafe { (*skb).tc_index = 0 };
    }
}
