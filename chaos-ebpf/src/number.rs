//! Packets for a delay line: they leave the kernel, and with that lose what it knows of them. So each
//! carries a number in a tag of its own, and the time at which it left is written down under that number.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_skb_vlan_pop, bpf_skb_vlan_push};
use chaos_common::detour::{DEPARTURES as PER_QUEUE, NO_NUMBER};

use crate::change::ETH_P_8021Q;
use crate::maps::{DEPARTURES, QUEUE};
use crate::{atomic, timing};

/// Whether one more packet can wait to be read. The kernel would drop it, where the reader is too slow.
#[inline(always)]
pub fn has_room(queue: u32) -> bool {
    let Some(queue) = QUEUE.get_ptr(queue) else { return false };
    // SAFETY: map memory; each word is written by single stores.
    let (sent, taken, room) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*queue).sent),
            core::ptr::read_volatile(&raw const (*queue).taken),
            core::ptr::read_volatile(&raw const (*queue).room),
        )
    };
    // The reader can have counted more: of a packet that was cut on the way, and of copies.
    room == 0 || sent.wrapping_sub(taken).cast_signed() < room.cast_signed()
}

/// Counts the packet, and gives it a number; whether it has one now. Super-packets get none: the kernel
/// would cut those with two tags.
#[inline(always)]
pub fn begin(skb: *mut __sk_buff, queue: u32) -> bool {
    let Some(counts) = QUEUE.get_ptr_mut(queue) else { return false };
    // SAFETY: the context is valid, the map's memory too.
    let (cut, sent) = unsafe {
        let cut = (*skb).gso_size != 0;
        let pieces = if cut && (*counts).per_packet != 0 { (*skb).gso_segs as u64 } else { 1 };
        (cut, atomic::fetch_add(&raw mut (*counts).sent, pieces))
    };
    let number = sent as u16;
    if cut || number == NO_NUMBER {
        return false;
    }
    let Some(departure) = DEPARTURES.get_ptr_mut(index(queue, number)) else { return false };
    // SAFETY: map memory, which the reader loads in one piece; the helpers get a valid context, and leave
    // the packet as it was when they fail.
    unsafe {
        core::ptr::write_volatile(departure, bpf_ktime_get_ns());
        bpf_skb_vlan_push(skb, ETH_P_8021Q, number) == 0
    }
}

/// Takes the number off a packet that cannot go.
#[inline(always)]
pub fn take_back(skb: *mut __sk_buff) {
    // SAFETY: the context is valid. The tag is in the packet's metadata, so this needs no memory.
    unsafe { bpf_skb_vlan_pop(skb) };
}

/// Takes the number off again, and counts how long the packet was away.
#[inline(always)]
pub fn end(skb: *mut __sk_buff, queue: u32, delays: u32) {
    // SAFETY: the context is valid.
    let (tagged, number) = unsafe { ((*skb).vlan_present != 0, (*skb).vlan_tci as u16) };
    // SAFETY: as above.
    if !tagged || unsafe { bpf_skb_vlan_pop(skb) } != 0 || number == NO_NUMBER {
        return;
    }
    let Some(departure) = DEPARTURES.get(index(queue, number)) else { return };
    // SAFETY: takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    timing::count(delays, now.saturating_sub(*departure));
}

#[inline(always)]
fn index(queue: u32, number: u16) -> u32 {
    queue * PER_QUEUE + number as u32
}
