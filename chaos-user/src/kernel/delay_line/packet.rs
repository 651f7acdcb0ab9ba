//! What the line must know about a frame from the TAP: its slot, its size on the wire, its flow.

use std::ops::Range;

use chaos_common::decide::mix;
use chaos_common::detour;

use super::line::Slot;

/// Bytes of `struct virtio_net_hdr`, which precedes each frame.
pub(super) const VNET_HEADER: usize = 10;
/// Bytes of the 802.1Q tag that carries the slot, and of that which carries the number.
const TAG: usize = 4;
const MAC_ADDRESSES: usize = 12;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_8021Q: u16 = 0x8100;
const ETHERTYPE_VLAN: [u16; 2] = [ETHERTYPE_8021Q, 0x88a8];
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// `None` for a frame that the data plane did not tag.
    pub(super) slot: Option<Slot>,
    /// Under which the data plane has written down when it left; see
    /// [`Departures`](crate::kernel::bpf::Departures).
    pub(super) number: Option<u16>,
    /// Bytes on the wire, all segments together, without the tags.
    pub(super) bytes: u32,
    /// Packets on the wire.
    pub(super) packets: u32,
    /// A hash over what makes a flow.
    pub(super) flow: u64,
}

/// Reads the beginning of a frame, which starts with the vnet header; `length` is all of it.
pub(super) fn summarise(head: &[u8], length: usize) -> Summary {
    let frame = head.get(VNET_HEADER..).unwrap_or_default();
    let tci = tci(frame, MAC_ADDRESSES);
    let slot = tci.and_then(|tci| Slot::new(detour::slot(tci.into()) as u16));
    let number = number(frame);
    let tags = if number.is_some() { 2 * TAG } else { TAG };
    let bytes = length.saturating_sub(VNET_HEADER + tags) as u32;
    let (flow, headers) = network(frame, MAC_ADDRESSES + tags);
    let headers = headers.saturating_sub(tags) as u32;
    // gso_size is in host order for a legacy device.
    let segment = match head.get(4..6) {
        Some(&[low, high]) => u32::from(u16::from_ne_bytes([low, high])),
        _ => 0,
    };
    let packets = match segment {
        0 => 1,
        _ => bytes.saturating_sub(headers).div_ceil(segment).max(1),
    };
    Summary { slot, number, bytes: bytes + (packets - 1) * headers, packets, flow }
}

/// The number of a frame that begins with the vnet header.
pub(super) fn number_of(head: &[u8]) -> Option<u16> {
    number(head.get(VNET_HEADER..)?)
}

/// Where [`number_of`] finds it.
pub(super) const NUMBER: Range<usize> = {
    let at = VNET_HEADER + MAC_ADDRESSES + TAG + 2;
    at..at + 2
};

fn number(frame: &[u8]) -> Option<u16> {
    let numbered = tci(frame, MAC_ADDRESSES).is_some_and(|tci| detour::is_timed(tci.into()));
    if numbered { tci(frame, MAC_ADDRESSES + TAG) } else { None }
}

/// What the 802.1Q tag at `at` carries, if there is one.
fn tci(frame: &[u8], at: usize) -> Option<u16> {
    if be16(frame, at) == Some(ETHERTYPE_8021Q) { be16(frame, at + 2) } else { None }
}

/// The flow, and where the payload of its transport begins. `at` is the place of an ethertype.
fn network(frame: &[u8], mut at: usize) -> (u64, usize) {
    let mut ethertype = be16(frame, at);
    for _ in 0..2 {
        if ethertype.is_some_and(|found| ETHERTYPE_VLAN.contains(&found)) {
            at += TAG;
            ethertype = be16(frame, at);
        }
    }
    let start = at + 2;
    match ethertype {
        Some(ETHERTYPE_IPV4) => ipv4(frame, start),
        Some(ETHERTYPE_IPV6) => ipv6(frame, start),
        _ => (hash(0, frame.get(..MAC_ADDRESSES).unwrap_or_default()), start),
    }
}

fn ipv4(frame: &[u8], start: usize) -> (u64, usize) {
    let Some(header) = frame.get(start..start + 20) else { return (0, start) };
    let after = start + usize::from(header[0] & 0xf) * 4;
    let protocol = header[9];
    let flow = hash(u64::from(protocol), &header[12..20]);
    // Later fragments have no ports, so none of them may be told apart by ports.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if fragment { (flow, after) } else { transport(frame, after, protocol, flow) }
}

fn ipv6(frame: &[u8], start: usize) -> (u64, usize) {
    let Some(header) = frame.get(start..start + 40) else { return (0, start) };
    let (mut protocol, mut after) = (header[6], start + 40);
    if protocol == HOP_BY_HOP
        && let Some(&[next, length]) = frame.get(after..after + 2)
    {
        (protocol, after) = (next, after + (usize::from(length) + 1) * 8);
    }
    let flow = hash(u64::from(protocol), &header[8..40]);
    transport(frame, after, protocol, flow)
}

fn transport(frame: &[u8], start: usize, protocol: u8, flow: u64) -> (u64, usize) {
    let length = match protocol {
        TCP => frame.get(start + 12).map_or(20, |byte| usize::from(byte >> 4) * 4),
        UDP => 8,
        _ => return (flow, start),
    };
    let ports = frame.get(start..start + 4).unwrap_or_default();
    (hash(flow, ports), start + length)
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let word = |hash, chunk: &[u8]| {
        let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        mix(hash, word)
    };
    bytes.chunks(8).fold(seed, word)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
