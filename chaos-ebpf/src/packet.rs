//! From bytes to a flow.
//!
//! VLAN tags, in the packet or in its metadata, are looked through. Fragments after the first have
//! no ports, so rules that name ports do not choose them; losing the first one loses the datagram.
//! Headers that are cut short, and IPv6 packets with more than [`EXTENSION_HEADERS`] extension
//! headers, are never touched.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_pull_data};
use chaos_common::Hook;
use chaos_common::decide::Endpoints;
use core::mem::MaybeUninit;

const ETH_P_IP: u16 = 0x0800u16.to_be();
const ETH_P_IPV6: u16 = 0x86dd_u16.to_be();
const ETH_P_8021Q: u16 = 0x8100u16.to_be();
const ETH_P_8021AD: u16 = 0x88a8u16.to_be();

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const DCCP: u8 = 33;
pub const ICMPV6: u8 = 58;
pub const ICMP: u8 = 1;
pub const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

const TCP_FIN: u8 = 1;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;

/// What the device puts in front of the IP header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    None,
}

impl Link {
    #[inline(always)]
    const fn length(self) -> usize {
        match self {
            Self::Ethernet => 14,
            Self::None => 0,
        }
    }
}

/// A packet (or a call) as the rules see it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Packet {
    pub ends: Endpoints,
    pub ifindex: u32,
    /// Link layer included.
    pub length: u32,
    /// Offset of the IP header.
    pub network: u16,
    /// Offset of the header behind it.
    pub transport: u16,
    /// A [`Hook`].
    pub hook: u8,
    pub family: u8,
    pub tcp_flags: u8,
    /// 1 for fragments after the first.
    pub fragment: u8,
    /// 1 with a VLAN tag.
    pub tagged: u8,
    /// 1 where the protocol has ports and this packet shows them.
    pub has_ports: u8,
    /// 1 for ICMP errors and TCP resets, which are never answered with another.
    pub is_refusal: u8,
}

impl Packet {
    pub const EMPTY: Self = Self {
        ends: Endpoints {
            local: [0; 4],
            remote: [0; 4],
            local_port: 0,
            remote_port: 0,
            protocol: 0,
        },
        ifindex: 0,
        length: 0,
        network: 0,
        transport: 0,
        hook: 0,
        family: 0,
        tcp_flags: 0,
        fragment: 0,
        tagged: 0,
        has_ports: 0,
        is_refusal: 0,
    };

    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.tcp_flags & TCP_SYN != 0
    }

    /// SYN and FIN count as one byte each.
    #[inline(always)]
    pub fn tcp_sequence_length(&self) -> u32 {
        ((self.tcp_flags & TCP_SYN != 0) as u32) + ((self.tcp_flags & TCP_FIN != 0) as u32)
    }
}

/// Bytes that are made readable in place: two tags, the longest IPv4 header, TCP's.
const WANTED: u32 = 14 + 8 + 60 + 20;

/// Reads the headers; `None` for whatever must never be touched.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff, link: Link, hook: Hook, packet: &mut Packet) -> Option<()> {
    // SAFETY: the kernel hands every program a valid context.
    let meta = unsafe { &*skb };
    let linear = meta.data_end.wrapping_sub(meta.data);
    // Programs on cgroups may not pull; they copy instead of reading in place.
    if hook as u8 != Hook::CgroupIngress as u8 && linear < WANTED && linear < meta.len {
        let want = if meta.len < WANTED { meta.len } else { WANTED };
        // SAFETY: the context is valid; a failure leaves the packet as it was.
        unsafe { bpf_skb_pull_data(skb, want) };
    }
    let mut network = link.length();
    let mut tagged = meta.vlan_present != 0;
    let mut ethertype = meta.protocol as u16;
    if link == Link::Ethernet {
        // Tags that are still in the packet; a device without VLAN offload writes them there.
        for _ in 0..2 {
            if ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD {
                tagged = true;
                ethertype = read::<u16>(skb, network + 2, hook)?;
                network += 4;
            }
        }
    }
    // Field by field: this target turns larger initialisers into byte loops.
    packet.ends.local_port = 0;
    packet.ends.remote_port = 0;
    packet.ifindex = meta.ifindex;
    packet.length = meta.len;
    packet.network = network as u16;
    packet.hook = hook as u8;
    packet.tcp_flags = 0;
    packet.fragment = 0;
    packet.tagged = tagged as u8;
    packet.has_ports = 0;
    packet.is_refusal = 0;
    if ethertype == ETH_P_IP {
        parse_v4(skb, packet, network, hook)?;
    } else if ethertype == ETH_P_IPV6 {
        parse_v6(skb, packet, network, hook)?;
    } else {
        return None;
    }
    Some(())
}

#[inline(always)]
fn parse_v4(skb: *mut __sk_buff, packet: &mut Packet, network: usize, hook: Hook) -> Option<()> {
    let header: [u32; 5] = read(skb, network, hook)?;
    let [first, second, third, source, destination] = header;
    let version_ihl = first.to_be() >> 24;
    let header_length = (version_ihl & 0xf) as usize * 4;
    let total_length = (first.to_be() & 0xffff) as usize;
    // GSO packets beyond 64 KiB (BIG TCP) have a length of 0.
    let impossible = total_length != 0 && total_length < header_length;
    if version_ihl >> 4 != 4 || header_length < 20 || impossible {
        return None;
    }
    packet.family = 4;
    packet.fragment = (second.to_be() & 0x1fff != 0) as u8;
    packet.ends.protocol = (third.to_be() >> 16) as u8;
    let (local, remote) = if packet.hook == Hook::Egress as u8 {
        (source, destination)
    } else {
        (destination, source)
    };
    packet.ends.local = [local, 0, 0, 0];
    packet.ends.remote = [remote, 0, 0, 0];
    parse_transport(skb, packet, network + header_length)
}

/// Longer chains do not occur outside attacks.
const EXTENSION_HEADERS: usize = 6;

#[inline(always)]
fn parse_v6(skb: *mut __sk_buff, packet: &mut Packet, network: usize, hook: Hook) -> Option<()> {
    let first: [u32; 2] = read(skb, network, hook)?;
    if first[0].to_be() >> 28 != 6 {
        return None;
    }
    let [source, destination] = addresses(skb, network + 8, hook)?;
    packet.family = 6;
    if packet.hook == Hook::Egress as u8 {
        put(&raw mut packet.ends.local, source);
        put(&raw mut packet.ends.remote, destination);
    } else {
        put(&raw mut packet.ends.local, destination);
        put(&raw mut packet.ends.remote, source);
    }
    let mut next = (first[1].to_be() >> 8) as u8;
    let mut offset = network + 40;
    if next != TCP && next != UDP && next != ICMPV6 {
        let chain = Chain(chaos_extensions(skb, next as u32, offset as u32));
        if chain.is_broken() {
            return None;
        }
        packet.fragment = chain.fragment();
        (next, offset) = (chain.next(), chain.offset() as usize);
    }
    packet.ends.protocol = next;
    parse_transport(skb, packet, offset)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Where the chain of extension headers ends.
#[derive(Clone, Copy)]
struct Chain(u64);

impl Chain {
    /// It is cut short, or too long.
    const BROKEN: Self = Self(1 << 63);

    #[inline(always)]
    const fn end(next: u8, offset: u32, fragment: bool) -> Self {
        Self(offset as u64 | (next as u64) << 32 | (fragment as u64) << 40)
    }

    #[inline(always)]
    const fn is_broken(self) -> bool {
        self.0 >> 63 != 0
    }

    /// The protocol behind it.
    #[inline(always)]
    const fn next(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Where that begins.
    #[inline(always)]
    const fn offset(self) -> u32 {
        self.0 as u32
    }

    /// 1 for fragments after the first.
    #[inline(always)]
    const fn fragment(self) -> u8 {
        (self.0 >> 40) as u8 & 1
    }
}

/// A [`Chain`], from the header of type `next` at `offset` on. The verifier checks a global function
/// once, and would follow these rounds for every path of the parser.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_extensions(skb: *mut __sk_buff, next: u32, offset: u32) -> u64 {
    skip_extensions(skb, next as u8, offset).0
}

#[inline(always)]
fn skip_extensions(skb: *mut __sk_buff, mut next: u8, mut offset: u32) -> Chain {
    // One round more than there may be headers: it finds what is behind the last one.
    for _ in 0..=EXTENSION_HEADERS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => 8,
            AUTHENTICATION => 4,
            FRAGMENT => 0,
            _ => return Chain::end(next, offset, false),
        };
        // None is shorter.
        let mut header = [0u8; 8];
        if load(skb, offset as usize, &mut header).is_none() {
            return Chain::BROKEN;
        }
        let size = if next == FRAGMENT {
            if u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 {
                // Not the first one: what follows is no header.
                return Chain::end(header[0], offset + 8, true);
            }
            8
        } else {
            8 + header[1] as u32 * length
        };
        next = header[0];
        offset += size;
    }
    Chain::BROKEN
}

/// Source and destination, word by word: an array that is copied as such becomes a call of `memmove`,
/// which goes byte by byte on this target and costs more than the rest of the parser.
#[inline(always)]
fn addresses(skb: *mut __sk_buff, offset: usize, hook: Hook) -> Option<[[u64; 2]; 2]> {
    if hook as u8 == Hook::CgroupIngress as u8 {
        return read(skb, offset, hook);
    }
    // SAFETY: the kernel hands every program a valid context.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if data + offset + size_of::<[[u64; 2]; 2]>() > end {
        return None;
    }
    let words = (data + offset) as *const u64;
    // SAFETY: the bounds were just checked; packet memory needs no alignment.
    unsafe { Some([[*words, *words.add(1)], [*words.add(2), *words.add(3)]]) }
}

/// Two words and not four: the flow's key is read back in words, and a CPU stalls on a load that
/// two earlier stores answer together.
#[expect(clippy::cast_ptr_alignment, reason = "`Endpoints` is aligned to eight bytes")]
#[inline(always)]
fn put(address: *mut [u32; 4], [first, second]: [u64; 2]) {
    let address = address.cast::<u64>();
    // SAFETY: same size; `Endpoints` aligns its addresses to eight bytes.
    unsafe {
        address.write(first);
        address.add(1).write(second);
    }
}

#[inline(always)]
fn parse_transport(skb: *mut __sk_buff, packet: &mut Packet, offset: usize) -> Option<()> {
    packet.transport = offset as u16;
    if offset > packet.length as usize {
        return None;
    }
    if packet.fragment != 0 {
        return Some(());
    }
    match packet.ends.protocol {
        TCP | UDP | UDP_LITE | SCTP | DCCP => {
            let [source, destination] = ports(skb, offset, packet.hook)?;
            packet.has_ports = 1;
            if packet.hook == Hook::Egress as u8 {
                packet.ends.local_port = source;
                packet.ends.remote_port = destination;
            } else {
                packet.ends.local_port = destination;
                packet.ends.remote_port = source;
            }
            if packet.ends.protocol == TCP {
                let flags = tcp_flags(skb, offset, packet.hook)?;
                packet.tcp_flags = flags;
                packet.is_refusal = (flags & TCP_RST != 0) as u8;
            }
        }
        ICMPV6 if packet.family == 6 => {
            let mut kind = [0u8; 1];
            load(skb, offset, &mut kind)?;
            // Router and neighbour solicitation and advertisement, and redirect: without these
            // the operator is cut off, whatever the rules say.
            if (133..=137).contains(&kind[0]) {
                return None;
            }
            packet.is_refusal = (kind[0] < 128) as u8;
        }
        ICMP if packet.family == 4 => {
            let mut kind = [0u8; 1];
            load(skb, offset, &mut kind)?;
            packet.is_refusal = !matches!(kind[0], 0 | 8..=10 | 13..=18) as u8;
        }
        _ => {}
    }
    Some(())
}

/// Source and destination port: read in place where they are, which is faster than a helper call,
/// else copied from wherever the packet has them.
#[inline(always)]
fn ports(skb: *mut __sk_buff, offset: usize, hook: u8) -> Option<[u16; 2]> {
    let bytes = match in_place::<u32>(skb, offset, hook) {
        Some(word) => word.to_ne_bytes(),
        None => {
            let mut bytes = [0u8; 4];
            load(skb, offset, &mut bytes)?;
            bytes
        }
    };
    let [a, b, c, d] = bytes;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

/// TCP's flags, in the same way.
#[inline(always)]
fn tcp_flags(skb: *mut __sk_buff, offset: usize, hook: u8) -> Option<u8> {
    // With the byte before them: the verifier learns nothing from a comparison that proves one
    // byte only.
    if let Some(word) = in_place::<u16>(skb, offset + 12, hook) {
        return Some(word.to_ne_bytes()[1]);
    }
    let mut flags = [0u8; 1];
    load(skb, offset + 13, &mut flags)?;
    Some(flags[0])
}

/// What the packet has at `offset`, if that is in its linear part and near its start.
#[inline(always)]
fn in_place<T: Copy>(skb: *mut __sk_buff, offset: usize, hook: u8) -> Option<T> {
    if hook == Hook::CgroupIngress as u8 || offset >= WANTED as usize {
        return None;
    }
    // SAFETY: the kernel hands every program a valid context.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if data + offset + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the bounds were just checked; packet memory needs no alignment.
    Some(unsafe { *((data + offset) as *const T) })
}

/// Reads header fields in place where that is allowed, which is fast.
#[inline(always)]
fn read<T: Copy>(skb: *mut __sk_buff, offset: usize, hook: Hook) -> Option<T> {
    if hook as u8 == Hook::CgroupIngress as u8 {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination has the size that is asked for; the helper checks the packet's
        // bounds.
        let result = unsafe {
            let size = size_of::<T>() as u32;
            bpf_skb_load_bytes(skb.cast(), offset as u32, value.as_mut_ptr().cast(), size)
        };
        // SAFETY: the helper has written all of it, and T is plain data.
        return (result == 0).then(|| unsafe { value.assume_init() });
    }
    // SAFETY: the kernel hands every program a valid context.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if data + offset + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the bounds were just checked; BPF loads need no alignment where the kernel says so,
    // and packet memory does.
    Some(unsafe { *((data + offset) as *const T) })
}

/// Copies bytes from anywhere in the packet.
#[inline(always)]
pub fn load<const N: usize>(skb: *mut __sk_buff, offset: usize, to: &mut [u8; N]) -> Option<()> {
    // SAFETY: the destination holds N bytes; the helper checks the packet's bounds.
    let result =
        unsafe { bpf_skb_load_bytes(skb.cast(), offset as u32, to.as_mut_ptr().cast(), N as u32) };
    (result == 0).then_some(())
}
