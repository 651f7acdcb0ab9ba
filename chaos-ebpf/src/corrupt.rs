//! Flipping a bit.
//!
//! What a local sender leaves to the device (`CHECKSUM_PARTIAL`) would have its checksum made to fit
//! the flipped bit, or never checked: veth and loopback hand the packet over with the promise that
//! it is sound. So a corruption that checksums must detect first takes that promise off the packet:
//! the kernel drops it when the header that holds the checksum is pulled off, and the header is then
//! put back. The checksum in it is only a part of one, and does not fit.

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_RECOMPUTE_CSUM, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
};
use aya_ebpf::helpers::generated::{bpf_l4_csum_replace, bpf_skb_adjust_room};
use aya_ebpf::helpers::{bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes};
use chaos_common::decide;
use chaos_common::rule::corrupt;

use crate::maps::{HEADERS, HEADERS_LENGTH, SCRATCH, Scratch};
use crate::packet::{ICMP, ICMPV6, Packet, SCTP, TCP, UDP, load};

/// A bit was flipped.
pub const MADE: u32 = 1;
/// The packet cannot be corrupted so that it is detected, and is to be lost: a super-packet.
pub const LOST: u32 = 2;

/// Shorter packets are stretched for a moment: pulling their headers off must leave an IP header's
/// length.
const ROOM: u32 = 14 + HEADERS_LENGTH as u32 + 40;

/// Flips the chosen bit of the packet of [`SCRATCH`]; 0 if there is none that fits the kind. A global
/// function, so that the verifier checks it once and not for every path that leads here.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn chaos_corrupt(skb: *mut __sk_buff, place: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr(place) else { return 0 };
    // SAFETY: per-CPU memory that nobody writes meanwhile.
    let Scratch { packet, change, .. } = unsafe { &*scratch };
    if change.corrupt_kind == corrupt::SILENT as u32 {
        silently(skb, packet, change.draw).is_some() as u32
    } else {
        detectably(skb, packet, change.draw).unwrap_or(0)
    }
}

/// Where a packet's bytes are, by offset.
struct Layout {
    /// Of the transport checksum; 0 where there is none that is known.
    checksum: u32,
    payload: u32,
    length: u32,
}

#[inline(always)]
fn layout(skb: *mut __sk_buff, packet: &Packet) -> Option<Layout> {
    let network = packet.network as u32;
    let transport = packet.transport as u32;
    // A frame may be longer than its packet; that of a super-packet can be unknown to IP.
    let mut length = [0u8; 2];
    let field = if packet.family == 4 { 2 } else { 4 };
    load(skb, packet.network as usize + field, &mut length)?;
    let stated = u16::from_be_bytes(length) as u32;
    let above = if packet.family == 4 { 0 } else { 40 };
    let end = network + above + stated;
    let end = if stated == 0 || end > packet.length { packet.length } else { end };
    let (header, checksum) = if packet.fragment != 0 {
        (0, 0)
    } else {
        match (packet.ends.protocol, packet.family) {
            (TCP, _) => {
                let mut offset = [0u8; 1];
                load(skb, packet.transport as usize + 12, &mut offset)?;
                ((offset[0] as u32 >> 4) * 4, transport + 16)
            }
            (UDP, _) => (8, transport + 6),
            (ICMP, 4) | (ICMPV6, 6) => (8, transport + 2),
            (SCTP, _) => (12, 0),
            _ => (0, 0),
        }
    };
    let payload = transport + header;
    Some(Layout { checksum, payload, length: end.saturating_sub(payload) })
}

/// Flips a bit of the payload and makes the checksum fit again. What nobody can make fit (SCTP, and
/// fragments after the first) is left alone.
#[inline(always)]
fn silently(skb: *mut __sk_buff, packet: &Packet, draw: u64) -> Option<()> {
    let Layout { checksum, payload, length } = layout(skb, packet)?;
    if length == 0 || packet.fragment != 0 || packet.ends.protocol == SCTP {
        return None;
    }
    let (offset, bit) = decide::bit(draw, length);
    let at = payload + offset;
    let (old, new) = flip(skb, at, bit, 0)?;
    if checksum == 0 {
        return Some(());
    }
    let odd = (at - packet.transport as u32) & 1 == 1;
    let word = |byte: u8| u16::from_ne_bytes(if odd { [0, byte] } else { [byte, 0] }) as u64;
    // UDP without a checksum stays without.
    let optional = packet.ends.protocol == UDP;
    let flags = 2 | if optional { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
    // SAFETY: the context is valid; the helper checks the packet's bounds.
    let result = unsafe { bpf_l4_csum_replace(skb, checksum, word(old), word(new), flags) };
    (result == 0).then_some(())
}

/// Flips a bit of the payload, or where there is none of the checksum, and sees to it that the
/// receiver looks.
#[inline(always)]
fn detectably(skb: *mut __sk_buff, packet: &Packet, draw: u64) -> Option<u32> {
    let Layout { checksum, payload, length } = layout(skb, packet)?;
    let known = checksum != 0 || packet.fragment != 0 || packet.ends.protocol == SCTP;
    if !known || checksum == 0 && length == 0 {
        return None;
    }
    // SAFETY: the kernel hands every program a valid context.
    if unsafe { (*skb).gso_size } != 0 {
        return Some(LOST);
    }
    distrust(skb, packet)?;
    let (from, length) = if length == 0 { (checksum, 2) } else { (payload, length) };
    let (offset, bit) = decide::bit(draw, length);
    flip(skb, from + offset, bit, BPF_F_RECOMPUTE_CSUM as u64)?;
    // UDP without a checksum would not be looked at.
    let mut sum = [0u8; 2];
    if packet.ends.protocol == UDP && checksum != 0 {
        load(skb, checksum as usize, &mut sum)?;
        if u16::from_ne_bytes(sum) == 0 {
            sum = [0xde, 0xad];
            // SAFETY: the source holds what is asked for; the helper checks the packet's bounds.
            let result = unsafe {
                let flags = BPF_F_RECOMPUTE_CSUM as u64;
                bpf_skb_store_bytes(skb.cast(), checksum, sum.as_ptr().cast(), 2, flags)
            };
            return (result == 0).then_some(MADE);
        }
    }
    Some(MADE)
}

/// Flips one bit; the byte before and after.
#[inline(always)]
fn flip(skb: *mut __sk_buff, at: u32, bit: u32, flags: u64) -> Option<(u8, u8)> {
    let mut byte = [0u8; 1];
    load(skb, at as usize, &mut byte)?;
    let old = byte[0];
    byte[0] ^= 1 << (bit & 7);
    // SAFETY: the source holds one byte; the helper checks the packet's bounds. It copies what is
    // shared with the sender's own queue before it writes.
    let result = unsafe { bpf_skb_store_bytes(skb.cast(), at, byte.as_ptr().cast(), 1, flags) };
    (result == 0).then_some((old, byte[0]))
}

/// Takes off the promise that the packet is sound. A failure leaves the packet as it was.
#[inline(always)]
fn distrust(skb: *mut __sk_buff, packet: &Packet) -> Option<()> {
    let room = HEADERS_LENGTH.cast_signed() as i32;
    // The checksum must be inside what is pulled off.
    if packet.transport as usize + 2 > HEADERS_LENGTH {
        return None;
    }
    let stretched = packet.length < ROOM;
    // SAFETY: the context is valid; the helper checks the length.
    if stretched && unsafe { bpf_skb_change_tail(skb, ROOM, 0) } != 0 {
        return None;
    }
    // SAFETY: per-CPU memory of this length, used by nobody else meanwhile.
    let headers = unsafe { &mut *HEADERS.get_ptr_mut(0)? };
    let (at, size) = (packet.network as u32, HEADERS_LENGTH as u32);
    // SAFETY: the destination holds what is asked for; the helpers check the packet's bounds.
    unsafe {
        if bpf_skb_load_bytes(skb.cast(), at, headers.as_mut_ptr().cast(), size) != 0
            || bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC, 0) != 0
        {
            return None;
        }
        // What was pulled off is put back in any case: the first step made the room.
        let flags = BPF_F_RECOMPUTE_CSUM as u64;
        if bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, 0) != 0
            || bpf_skb_store_bytes(skb.cast(), at, headers.as_ptr().cast(), size, flags) != 0
            || stretched && bpf_skb_change_tail(skb, packet.length, 0) != 0
        {
            return None;
        }
    }
    Some(())
}
