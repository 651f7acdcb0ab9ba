//! Prefixes and port ranges as masked words.

use std::net::IpAddr;

use crate::experiment::units::Prefix;

/// An address part of a key: value and mask in network byte order, IPv4 in the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressPart {
    pub(super) value: [u32; 4],
    pub(super) mask: [u32; 4],
    /// 4 or 6; 0 for any address.
    pub(super) family: u8,
}

impl AddressPart {
    pub(super) const ANY: Self = Self { value: [0; 4], mask: [0; 4], family: 0 };

    pub(super) fn of(prefix: &Prefix) -> Self {
        let mut octets = [0u8; 16];
        let (family, width) = match prefix.address() {
            IpAddr::V4(address) => {
                octets[..4].copy_from_slice(&address.octets());
                (4, 4)
            }
            IpAddr::V6(address) => {
                octets = address.octets();
                (6, 16)
            }
        };
        let mut mask = [0u8; 16];
        let length = usize::from(prefix.length());
        for (i, byte) in mask.iter_mut().take(width).enumerate() {
            let bits = length.saturating_sub(i * 8).min(8);
            *byte = ((0xff00_u16 >> bits) & 0xff) as u8;
        }
        let (value, mask) = (words(&octets), words(&mask));
        let value = std::array::from_fn(|i| value[i] & mask[i]);
        Self { value, mask, family }
    }
}

/// Sixteen octets as four words whose memory has the octets' order.
pub(super) fn words(octets: &[u8; 16]) -> [u32; 4] {
    std::array::from_fn(|i| {
        let [a, b, c, d] = [octets[i * 4], octets[i * 4 + 1], octets[i * 4 + 2], octets[i * 4 + 3]];
        u32::from_ne_bytes([a, b, c, d])
    })
}

/// A port part of a key: value and mask in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortPart {
    pub(super) value: u16,
    pub(super) mask: u16,
}

impl PortPart {
    pub(super) const ANY: Self = Self { value: 0, mask: 0 };

    /// Splits a range into the fewest aligned blocks: at most 30 for any range.
    pub(super) fn of(first: u16, last: u16) -> Vec<Self> {
        let mut parts = Vec::new();
        let (mut first, last) = (u32::from(first), u32::from(last));
        while first <= last {
            let aligned = if first == 0 { 1 << 16 } else { 1 << first.trailing_zeros() };
            let mut size: u32 = aligned;
            while first + size - 1 > last {
                size /= 2;
            }
            // The block of all 65536 ports has the empty mask, and still needs ports.
            parts.push(Self { value: first as u16, mask: !((size - 1) as u16) });
            first += size;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn port_blocks_cover_exactly_the_range(a in 0u16.., b in 0u16.., probe in 0u16..) {
            let (first, last) = (a.min(b), a.max(b));
            let parts = PortPart::of(first, last);
            prop_assert!(parts.len() <= 30);
            let hits = parts.iter().filter(|part| probe & part.mask == part.value).count();
            prop_assert_eq!(hits, usize::from((first..=last).contains(&probe)));
        }

        #[test]
        fn prefixes_cover_exactly_their_addresses(address: [u8; 4], probe: [u8; 4], length in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let network = u32::from_be_bytes(address) & mask;
            let prefix = Prefix::new(IpAddr::V4(network.into()), length).unwrap();
            let part = AddressPart::of(&prefix);
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&probe);
            let inside = (0..4).all(|i| words(&octets)[i] & part.mask[i] == part.value[i]);
            prop_assert_eq!(inside, u32::from_be_bytes(probe) & mask == network);
        }
    }
}
