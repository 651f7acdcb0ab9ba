//! Answers that tell the sender of a packet that it was refused.
//!
//! The packet itself is turned into the answer and sent back the way it came: to the local stack
//! when it was leaving, to the wire when it was arriving. What cannot be answered (multicast, broadcast, later
//! fragments, IP options, stacked tags, protocols without eight bytes to quote) is dropped
//! silently, and counted.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::generated::bpf_l4_csum_replace;
use aya_ebpf::helpers::{
    bpf_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use chaos_common::Hook;
use chaos_common::rule::reject;

use crate::act::TC_NEXT;
use crate::maps::ANSWER;
use crate::packet::{ICMP, ICMPV6, Link, Packet, TCP, load};

const LOOPBACK_IFINDEX: u32 = 1;
const TTL: u16 = 64;

const RST: u16 = 0x04;
const ACK: u16 = 0x10;

/// [`answer`] could not be built; no return code of a tc program has this value.
pub const NO_ANSWER: i32 = i32::MIN;

/// Turns the packet into its refusal; the program's return code, or [`NO_ANSWER`].
#[inline(never)]
pub fn answer(skb: *mut __sk_buff, packet: &Packet, ethernet: bool, kind: u8) -> i32 {
    let link = if ethernet { Link::Ethernet } else { Link::None };
    build(skb, packet, link, kind).unwrap_or(NO_ANSWER)
}

#[inline(always)]
fn build(skb: *mut __sk_buff, packet: &Packet, link: Link, kind: u8) -> Option<i32> {
    let untagged = match link {
        Link::Ethernet => 14,
        Link::None => 0,
    };
    if packet.fragment != 0 || packet.network != untagged || !is_unicast(packet) {
        return None;
    }
    if packet.ifindex == LOOPBACK_IFINDEX {
        return reset_forward(skb, packet);
    }
    let mut addresses = [0u8; 12];
    if link == Link::Ethernet {
        load(skb, 0, &mut addresses)?;
        // A broadcast of the subnet looks like any other address one layer up.
        if addresses[0] & 1 != 0 {
            return None;
        }
    }
    let network = packet.network as u32;
    match (packet.family, packet.ends.protocol == TCP && kind == reject::AUTO) {
        (4, true) => reset_v4(skb, packet, network)?,
        (4, false) => unreachable_v4(skb, packet, network, kind)?,
        (_, true) => reset_v6(skb, packet, network)?,
        (_, false) => unreachable_v6(skb, packet, network, kind)?,
    }
    if link == Link::Ethernet {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = addresses;
        store(skb, 0, &[g, h, i, j, k, l, a, b, c, d, e, f])?;
    }
    let leaving = packet.hook == Hook::Egress as u8;
    let direction = if leaving { u64::from(BPF_F_INGRESS) } else { 0 };
    // SAFETY: takes no pointer.
    Some(unsafe { bpf_redirect(packet.ifindex, direction) as i32 })
}

/// RFC 1122 forbids to answer what went to many, or came from nobody in particular.
#[inline(always)]
fn is_unicast(packet: &Packet) -> bool {
    let (destination, source) = reversed(packet);
    let first = destination[0].to_be() >> 24;
    let (multicast, nobody) = if packet.family == 4 {
        (first >= 224, source[0] == 0)
    } else {
        (first == 0xff, source[0] | source[1] | source[2] | source[3] == 0)
    };
    !multicast && !nobody
}

/// On loopback an answer would be a martian, but both ends are this host: the segment itself
/// becomes a reset, its receiver gives up, and its sender is reset by what it sends next. A
/// handshake is merely lost (connect-time refusal catches it before).
#[inline(always)]
fn reset_forward(skb: *mut __sk_buff, packet: &Packet) -> Option<i32> {
    if packet.ends.protocol != TCP || packet.is_syn() {
        return None;
    }
    let flags_at = packet.transport as usize + 12;
    let mut old = [0u8; 2];
    load(skb, flags_at, &mut old)?;
    let new = [old[0], (RST | ACK) as u8];
    let (from, to) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
    store(skb, flags_at as u32, &new)?;
    // SAFETY: the helper checks the packet's bounds.
    let result = unsafe {
        bpf_l4_csum_replace(skb, packet.transport as u32 + 16, from as u64, to as u64, 2)
    };
    (result == 0).then_some(TC_NEXT)
}

/// The RST that RFC 9293 asks for: sequence and acknowledgement, and the flags.
#[inline(always)]
fn reset_numbers(skb: *mut __sk_buff, packet: &Packet, ip_length: u16) -> Option<([u8; 8], u16)> {
    let mut numbers = [0u8; 9];
    load(skb, packet.transport as usize + 4, &mut numbers)?;
    let [s0, s1, s2, s3, a0, a1, a2, a3, offset] = numbers;
    if packet.tcp_flags as u16 & ACK != 0 {
        return Some(([a0, a1, a2, a3, 0, 0, 0, 0], RST));
    }
    let headers = packet.transport - packet.network + (offset as u16 >> 4) * 4;
    let payload = ip_length.saturating_sub(headers) as u32;
    let next = u32::from_be_bytes([s0, s1, s2, s3])
        .wrapping_add(payload)
        .wrapping_add(packet.tcp_sequence_length());
    let [n0, n1, n2, n3] = next.to_be_bytes();
    Some(([0, 0, 0, 0, n0, n1, n2, n3], RST | ACK))
}

/// The first `N` words of this CPU's buffer: an answer does not fit the stack beside everything
/// else, and programs on tc hooks do not nest.
#[inline(always)]
fn buffer<const N: usize>() -> Option<&'static mut [u16; N]> {
    const { assert!(N <= crate::maps::ANSWER_WORDS) };
    // SAFETY: per-CPU memory with room for N words.
    ANSWER.get_ptr_mut(0).map(|words| unsafe { &mut *words.cast() })
}

/// Source and destination of the answer, in the packet's own words.
#[inline(always)]
fn reversed(packet: &Packet) -> ([u32; 4], [u32; 4]) {
    // Leaving packets go from local to remote, so the answer goes from remote to local.
    if packet.hook == Hook::Egress as u8 {
        (packet.ends.remote, packet.ends.local)
    } else {
        (packet.ends.local, packet.ends.remote)
    }
}

#[inline(always)]
fn reversed_ports(packet: &Packet) -> (u16, u16) {
    if packet.hook == Hook::Egress as u8 {
        (packet.ends.remote_port.to_be(), packet.ends.local_port.to_be())
    } else {
        (packet.ends.local_port.to_be(), packet.ends.remote_port.to_be())
    }
}

#[inline(always)]
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}

/// One's complement sum; the same in any byte order, so the words stay as they are in memory.
#[inline(always)]
fn sum<const N: usize>(words: &[u16; N], from: usize, start: u32) -> u32 {
    let mut total = start;
    for (i, word) in words.iter().enumerate() {
        if i >= from {
            total += *word as u32;
        }
    }
    total
}

#[inline(always)]
fn checksum(total: u32) -> u16 {
    let once = (total & 0xffff) + (total >> 16);
    !(((once & 0xffff) + (once >> 16)) as u16)
}

#[inline(always)]
fn header_v4<const N: usize>(words: &mut [u16; N], packet: &Packet, protocol: u8) {
    let (source, destination) = reversed(packet);
    let [s0, s1] = halves(source[0]);
    let [d0, d1] = halves(destination[0]);
    words[0] = 0x4500u16.to_be();
    words[1] = (N as u16 * 2).to_be();
    words[2] = 0;
    words[3] = 0x4000u16.to_be();
    words[4] = (TTL << 8 | protocol as u16).to_be();
    words[5] = 0;
    words[6] = s0;
    words[7] = s1;
    words[8] = d0;
    words[9] = d1;
    let mut total = 0;
    for word in &words[..10] {
        total += *word as u32;
    }
    words[5] = checksum(total);
}

#[inline(always)]
fn header_v6<const N: usize>(words: &mut [u16; N], packet: &Packet, protocol: u8) {
    let (source, destination) = reversed(packet);
    words[0] = 0x6000u16.to_be();
    words[1] = 0;
    words[2] = (N as u16 * 2 - 40).to_be();
    words[3] = ((protocol as u16) << 8 | TTL).to_be();
    for i in 0..4 {
        let [s0, s1] = halves(source[i]);
        let [d0, d1] = halves(destination[i]);
        words[4 + i * 2] = s0;
        words[5 + i * 2] = s1;
        words[12 + i * 2] = d0;
        words[13 + i * 2] = d1;
    }
}

#[inline(always)]
fn put_reset<const N: usize>(
    words: &mut [u16; N],
    at: usize,
    packet: &Packet,
    numbers: [u8; 8],
    flags: u16,
) {
    let (source, destination) = reversed_ports(packet);
    let [a, b, c, d, e, f, g, h] = numbers;
    words[at] = source;
    words[at + 1] = destination;
    words[at + 2] = u16::from_ne_bytes([a, b]);
    words[at + 3] = u16::from_ne_bytes([c, d]);
    words[at + 4] = u16::from_ne_bytes([e, f]);
    words[at + 5] = u16::from_ne_bytes([g, h]);
    words[at + 6] = (0x5000 | flags).to_be();
    words[at + 7] = 0;
    words[at + 8] = 0;
    words[at + 9] = 0;
}

#[inline(always)]
fn reset_v4(skb: *mut __sk_buff, packet: &Packet, network: u32) -> Option<()> {
    let mut length = [0u8; 2];
    load(skb, packet.network as usize + 2, &mut length)?;
    let (numbers, flags) = reset_numbers(skb, packet, u16::from_be_bytes(length))?;
    let words = buffer::<20>()?;
    header_v4(words, packet, TCP);
    put_reset(words, 10, packet, numbers, flags);
    // The addresses (words 6 to 9) are part of the pseudo header.
    let pseudo = u32::from((TCP as u16).to_be()) + u32::from(20u16.to_be());
    words[18] = checksum(sum(words, 6, pseudo));
    rewrite(skb, network, words)
}

#[inline(always)]
fn reset_v6(skb: *mut __sk_buff, packet: &Packet, network: u32) -> Option<()> {
    let mut length = [0u8; 2];
    load(skb, packet.network as usize + 4, &mut length)?;
    let ip_length = u16::from_be_bytes(length).saturating_add(40);
    let (numbers, flags) = reset_numbers(skb, packet, ip_length)?;
    let words = buffer::<30>()?;
    header_v6(words, packet, TCP);
    put_reset(words, 20, packet, numbers, flags);
    let pseudo = u32::from((TCP as u16).to_be()) + u32::from(20u16.to_be());
    words[28] = checksum(sum(words, 4, pseudo));
    rewrite(skb, network, words)
}

/// Quotes the IP header and eight bytes, as RFC 792 asks.
#[inline(always)]
fn unreachable_v4(skb: *mut __sk_buff, packet: &Packet, network: u32, kind: u8) -> Option<()> {
    if packet.transport != packet.network + 20 {
        return None;
    }
    let code = match kind {
        reject::HOST_UNREACHABLE => 1,
        reject::NET_UNREACHABLE => 0,
        reject::ADMIN_PROHIBITED => 13,
        _ => 3,
    };
    let words = buffer::<28>()?;
    header_v4(words, packet, ICMP);
    words[10] = (3u16 << 8 | code).to_be();
    words[11] = 0;
    words[12] = 0;
    words[13] = 0;
    load_words(skb, network, words, 14)?;
    words[11] = checksum(sum(words, 10, 0));
    rewrite(skb, network, words)
}

/// Quotes the IPv6 header and eight bytes: less than RFC 4443 allows, enough to find the socket.
#[inline(always)]
fn unreachable_v6(skb: *mut __sk_buff, packet: &Packet, network: u32, kind: u8) -> Option<()> {
    if packet.transport != packet.network + 40 {
        return None;
    }
    let code = match kind {
        reject::HOST_UNREACHABLE => 3,
        reject::NET_UNREACHABLE => 0,
        reject::ADMIN_PROHIBITED => 1,
        _ => 4,
    };
    let words = buffer::<48>()?;
    header_v6(words, packet, ICMPV6);
    words[20] = (1u16 << 8 | code).to_be();
    words[21] = 0;
    words[22] = 0;
    words[23] = 0;
    load_words(skb, network, words, 24)?;
    let pseudo = u32::from((ICMPV6 as u16).to_be()) + u32::from(56u16.to_be());
    words[21] = checksum(sum(words, 4, pseudo));
    rewrite(skb, network, words)
}

/// Copies the packet from `network` on into the words from `at` to the end.
#[inline(always)]
fn load_words<const N: usize>(
    skb: *mut __sk_buff,
    network: u32,
    words: &mut [u16; N],
    at: usize,
) -> Option<()> {
    let quote = &mut words[at..];
    // SAFETY: the destination holds what is asked for; the helper checks the packet's bounds.
    let result = unsafe {
        let length = quote.len() as u32 * 2;
        bpf_skb_load_bytes(skb.cast(), network, quote.as_mut_ptr().cast(), length)
    };
    (result == 0).then_some(())
}

/// Cuts (or stretches) the packet to the answer's length and writes the answer.
#[inline(always)]
fn rewrite<const N: usize>(skb: *mut __sk_buff, network: u32, words: &[u16; N]) -> Option<()> {
    // SAFETY: the context is valid; the helper checks the length.
    if unsafe { bpf_skb_change_tail(skb, network + N as u32 * 2, 0) } != 0 {
        return None;
    }
    // SAFETY: the source holds 2N bytes; the helper checks the packet's bounds.
    let result =
        unsafe { bpf_skb_store_bytes(skb, network, words.as_ptr().cast(), N as u32 * 2, 0) };
    (result == 0).then_some(())
}

#[inline(always)]
fn store<const N: usize>(skb: *mut __sk_buff, offset: u32, bytes: &[u8; N]) -> Option<()> {
    // SAFETY: the source holds N bytes; the helper checks the packet's bounds.
    let result = unsafe { bpf_skb_store_bytes(skb, offset, bytes.as_ptr().cast(), N as u32, 0) };
    (result == 0).then_some(())
}
