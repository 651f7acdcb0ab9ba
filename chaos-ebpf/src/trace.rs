//! Log lines through aya-log, for `--trace-packets`.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_log_ebpf::info;
use chaos_common::rule::action;
use core::ffi::c_void;

use crate::act::Effect;
use crate::classify::Serving;
use crate::maps::{Change, RULES, SCRATCH, rule_index};
use crate::packet::Packet;

/// Lines written in the current second.
#[derive(Clone, Copy)]
#[repr(C)]
struct Budget {
    second: u64,
    used: u64,
}

#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

/// aya-log asks for a context and never uses it.
struct NoContext;

impl EbpfContext for NoContext {
    fn as_ptr(&self) -> *mut c_void {
        core::ptr::null_mut()
    }
}

/// Says that the packet in this place of [`SCRATCH`] was lost or refused, if that is asked for.
#[inline(always)]
pub fn effect(place: u32, effect: Effect, serving: &Serving) {
    let rate = serving.control.trace_rate;
    let action = effect.action();
    if rate != 0 && action != 0 && action < action::CORRUPT {
        chaos_trace(place, effect.slot(), action as u32, rate);
    }
}

/// Says how it was changed. Not where it is changed: too much is on the stack there.
#[inline(always)]
pub fn changes(place: u32, change: &Change, serving: &Serving) {
    let rate = serving.control.trace_rate;
    if rate == 0 {
        return;
    }
    for (done, index) in
        [(change.corrupted, change.corrupt_rule), (change.detoured, change.detour_rule)]
    {
        if done != 0
            && let Some(rule) = RULES.get(rule_index(serving.bank & 1, index as u16))
        {
            chaos_trace(place, rule.slot, rule.action as u32, rate);
        }
    }
}

/// The same for a call, which has its packet on the stack.
#[inline(always)]
pub fn call(packet: &Packet, effect: Effect, serving: &Serving) {
    let rate = serving.control.trace_rate;
    if rate != 0 && effect.action() != 0 {
        line(packet, effect.slot(), effect.action() as u32, rate);
    }
}

/// To the verifier a global function, which it checks once and not for every path that leads here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_trace(place: u32, slot: u32, action: u32, rate: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return 0 };
    // SAFETY: per-CPU memory of the program that runs.
    line(unsafe { &(*scratch).packet }, slot, action, rate);
    0
}

/// Writes one line unless this CPU has written `rate` in this second.
#[inline(always)]
fn line(packet: &Packet, slot: u32, action: u32, rate: u32) {
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return };
    // SAFETY: per-CPU memory.
    let budget = unsafe { &mut *budget };
    // 2^30 ns are near enough to a second, and a shift is cheaper than a division.
    let second = now >> 30;
    if budget.second != second {
        *budget = Budget { second, used: 0 };
    }
    if budget.used >= rate as u64 {
        return;
    }
    budget.used += 1;
    if packet.family == 4 {
        info!(
            &NoContext,
            "rule {} action {} hook {} dev {} proto {} {:i} port {} to {:i} port {} length {}",
            slot,
            action,
            packet.hook,
            packet.ifindex,
            packet.ends.protocol,
            u32::from_be(packet.ends.local[0]),
            packet.ends.local_port,
            u32::from_be(packet.ends.remote[0]),
            packet.ends.remote_port,
            packet.length
        );
    } else {
        info!(
            &NoContext,
            "rule {} action {} hook {} dev {} proto {} {:i} port {} to {:i} port {} length {}",
            slot,
            action,
            packet.hook,
            packet.ifindex,
            packet.ends.protocol,
            bytes(&packet.ends.local),
            packet.ends.local_port,
            bytes(&packet.ends.remote),
            packet.ends.remote_port,
            packet.length
        );
    }
}

#[inline(always)]
fn bytes(address: &[u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = *address;
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
    let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c.to_ne_bytes(), d.to_ne_bytes());
    [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3]
}
