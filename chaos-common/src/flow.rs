//! Keys and entries of the flow cache and of the connection table.

use crate::MAX_MATCHES;
use crate::layout::shared;

/// Fills unused places of [`Matches`]; no rule has this index.
pub const NO_RULE: u16 = u16::MAX;

shared! {
    /// A v4 flow as the cache knows it: 24 bytes are one round of the kernel's hash.
    pub struct FlowKey4 [24] {
        /// This side's address, network byte order.
        pub local: u32,
        /// The other side's address, network byte order.
        pub remote: u32,
        /// Host byte order; 0 where there are no ports.
        pub local_port: u16,
        /// As above.
        pub remote_port: u16,
        /// IP protocol number.
        pub protocol: u8,
        /// A [`crate::Hook`].
        pub hook: u8,
        /// 1 for fragments that carry no ports.
        pub fragment: u8,
        /// 1 for packets with a VLAN tag.
        pub tagged: u8,
        /// Device.
        pub ifindex: u32,
        /// The low half of the sending socket's cgroup id, which is unique among the cgroups that
        /// exist at one time (kernfs allocates it so); 0 when no rule asks for it.
        pub cgroup: u32,
    }

    /// As [`FlowKey4`], for v6.
    pub struct FlowKey6 [48] {
        /// This side's address, network byte order.
        pub local: [u32; 4],
        /// The other side's address, network byte order.
        pub remote: [u32; 4],
        /// Host byte order; 0 where there are no ports.
        pub local_port: u16,
        /// As above.
        pub remote_port: u16,
        /// IP protocol number of the last header.
        pub protocol: u8,
        /// A [`crate::Hook`].
        pub hook: u8,
        /// 1 for fragments that carry no ports.
        pub fragment: u8,
        /// 1 for packets with a VLAN tag.
        pub tagged: u8,
        /// Device.
        pub ifindex: u32,
        /// See [`FlowKey4::cgroup`].
        pub cgroup: u32,
    }

    /// Rules that a flow matches, by index into the serving bank: up to [`MAX_MATCHES`] packed into
    /// words, so that the kernel side can append without indexing memory. Unused places hold
    /// [`NO_RULE`].
    pub struct Matches [16] {
        /// The most recently added four, the latest in the lowest bits.
        pub low: u64,
        /// The four before them.
        pub high: u64,
    }

    /// A classified flow. Flows that match nothing are cached too.
    pub struct FlowEntry [24] {
        /// The entry counts only while this is the serving generation.
        pub generation: u32,
        /// How many rules the flow matches.
        pub count: u32,
        /// Which.
        pub matches: Matches,
    }

    /// A TCP connection, the same key in both directions.
    pub struct ConnectionKey [40] {
        /// This side's address.
        pub local: [u32; 4],
        /// The other side's address.
        pub remote: [u32; 4],
        /// Host byte order.
        pub local_port: u16,
        /// Host byte order.
        pub remote_port: u16,
        /// 4 or 6.
        pub family: u32,
    }
}

impl Matches {
    /// Nothing matched.
    pub const NONE: Self = Self { low: u64::MAX, high: u64::MAX };

    /// Adds a rule. The ninth pushes out the first: the caller counts.
    #[inline(always)]
    pub const fn push(&mut self, rule: u16) {
        self.high = (self.high << 16) | (self.low >> 48);
        self.low = (self.low << 16) | rule as u64;
    }

    /// The rule at a place below [`MAX_MATCHES`], or [`NO_RULE`]; the last one added is first.
    #[inline(always)]
    pub const fn get(&self, place: usize) -> u16 {
        let word = if place < 4 { self.low } else { self.high };
        (word >> (16 * (place & 3))) as u16
    }

    /// The rules, the last one added first.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..MAX_MATCHES).map(|place| self.get(place)).take_while(|&rule| rule != NO_RULE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_keep_eight_rules() {
        let mut matches = Matches::NONE;
        assert_eq!(matches.iter().count(), 0);
        for rule in 0..8 {
            matches.push(rule);
        }
        assert!(matches.iter().eq((0..8).rev()));
    }
}
