//! Keys and entries of the flow cache and of the connection table.

use crate::MAX_MATCHES;
use crate::layout::shared;

/// Fills unused places of [`Matches`]; no rule has this index.
pub const NO_RULE: u16 = u16::MAX;

shared! {
    /// A v4 flow as the cache knows it, packed into words that compare and hash quickly; see
    /// [`FlowKey4::new`].
    pub struct FlowKey4 [24] {
        /// Addresses; ports and kind; place.
        pub words: [u64; 3],
    }

    /// As [`FlowKey4`], for v6.
    pub struct FlowKey6 [48] {
        /// Local address, remote address; ports and kind; place.
        pub words: [u64; 6],
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

    /// A v4 flow and what it matches.
    pub struct FlowSlot4 [48] {
        /// Which flow.
        pub key: FlowKey4,
        /// What it matches.
        pub entry: FlowEntry,
    }

    /// A v6 flow and what it matches.
    pub struct FlowSlot6 [72] {
        /// Which flow.
        pub key: FlowKey6,
        /// What it matches.
        pub entry: FlowEntry,
    }

    /// v4 flows whose keys have the same [`FlowKey4::bucket`]; a new one goes first and pushes
    /// out the second.
    pub struct FlowBucket4 [96] {
        /// The newer.
        pub first: FlowSlot4,
        /// The older.
        pub second: FlowSlot4,
    }

    /// As [`FlowBucket4`], for v6.
    pub struct FlowBucket6 [144] {
        /// The newer.
        pub first: FlowSlot6,
        /// The older.
        pub second: FlowSlot6,
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

/// Buckets of the v4 flow cache, on each CPU; a power of two.
pub const BUCKETS4: u32 = 4096;

/// Buckets of the v6 flow cache, on each CPU; a power of two.
pub const BUCKETS6: u32 = 2048;

/// What a flow is, besides its addresses.
#[derive(Debug, Clone, Copy)]
pub struct FlowKind {
    /// Host byte order; 0 where there are no ports.
    pub local_port: u16,
    /// As above.
    pub remote_port: u16,
    /// IP protocol number (v6: of the last header).
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

impl FlowKind {
    #[inline(always)]
    const fn words(&self) -> [u64; 2] {
        let Self { local_port, remote_port, protocol, hook, fragment, tagged, ifindex, cgroup } =
            *self;
        let ports = local_port as u64 | (remote_port as u64) << 16;
        let kind = (protocol as u64) << 32 | (hook as u64) << 40;
        let form = (fragment as u64) << 48 | (tagged as u64) << 56;
        [ports | kind | form, pair(ifindex, cgroup)]
    }
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Odd multipliers, one per word (binary digits of square roots): the products do not wait for one
/// another, and the high bits of their sum depend on every bit of every word.
const MULTIPLIERS: [u64; 6] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
];

impl FlowKey4 {
    /// Addresses in network byte order.
    #[inline(always)]
    pub const fn new(local: u32, remote: u32, kind: &FlowKind) -> Self {
        let [ports, place] = kind.words();
        Self { words: [pair(local, remote), ports, place] }
    }

    /// Where the cache keeps this flow: below [`BUCKETS4`].
    #[inline(always)]
    pub const fn bucket(&self) -> u32 {
        let w = &self.words;
        let addresses = w[0].wrapping_mul(MULTIPLIERS[0]);
        let rest =
            w[1].wrapping_mul(MULTIPLIERS[1]).wrapping_add(w[2].wrapping_mul(MULTIPLIERS[2]));
        (addresses.wrapping_add(rest) >> (64 - BUCKETS4.ilog2())) as u32
    }

    /// Whether it is the same flow, without a branch.
    #[inline(always)]
    pub const fn same(&self, other: &Self) -> bool {
        let (w, o) = (&self.words, &other.words);
        (w[0] ^ o[0]) | (w[1] ^ o[1]) | (w[2] ^ o[2]) == 0
    }
}

impl FlowKey6 {
    /// Addresses in network byte order.
    #[inline(always)]
    pub const fn new(local: &[u32; 4], remote: &[u32; 4], kind: &FlowKind) -> Self {
        let [ports, place] = kind.words();
        Self {
            words: [
                pair(local[0], local[1]),
                pair(local[2], local[3]),
                pair(remote[0], remote[1]),
                pair(remote[2], remote[3]),
                ports,
                place,
            ],
        }
    }

    /// Where the cache keeps this flow: below [`BUCKETS6`].
    #[inline(always)]
    pub const fn bucket(&self) -> u32 {
        let w = &self.words;
        let local =
            w[0].wrapping_mul(MULTIPLIERS[0]).wrapping_add(w[1].wrapping_mul(MULTIPLIERS[1]));
        let remote =
            w[2].wrapping_mul(MULTIPLIERS[2]).wrapping_add(w[3].wrapping_mul(MULTIPLIERS[3]));
        let rest =
            w[4].wrapping_mul(MULTIPLIERS[4]).wrapping_add(w[5].wrapping_mul(MULTIPLIERS[5]));
        (local.wrapping_add(remote).wrapping_add(rest) >> (64 - BUCKETS6.ilog2())) as u32
    }

    /// Whether it is the same flow, without a branch.
    #[inline(always)]
    pub const fn same(&self, other: &Self) -> bool {
        let (w, o) = (&self.words, &other.words);
        let addresses = (w[0] ^ o[0]) | (w[1] ^ o[1]) | (w[2] ^ o[2]) | (w[3] ^ o[3]);
        addresses | (w[4] ^ o[4]) | (w[5] ^ o[5]) == 0
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

    const KIND: FlowKind = FlowKind {
        local_port: 1,
        remote_port: 2,
        protocol: 3,
        hook: 1,
        fragment: 0,
        tagged: 1,
        ifindex: 4,
        cgroup: 5,
    };

    /// Every field of a kind, changed alone.
    fn changed() -> [FlowKind; 8] {
        [
            FlowKind { local_port: 9, ..KIND },
            FlowKind { remote_port: 9, ..KIND },
            FlowKind { protocol: 9, ..KIND },
            FlowKind { hook: 2, ..KIND },
            FlowKind { fragment: 1, ..KIND },
            FlowKind { tagged: 0, ..KIND },
            FlowKind { ifindex: 9, ..KIND },
            FlowKind { cgroup: 9, ..KIND },
        ]
    }

    #[test]
    fn no_two_flows_have_the_same_key() {
        let (four, six) = (FlowKey4::new(1, 2, &KIND), FlowKey6::new(&[1; 4], &[2; 4], &KIND));
        assert!(four.same(&FlowKey4::new(1, 2, &KIND)));
        assert!(six.same(&FlowKey6::new(&[1; 4], &[2; 4], &KIND)));
        for kind in changed() {
            assert!(!four.same(&FlowKey4::new(1, 2, &kind)), "{kind:?}");
            assert!(!six.same(&FlowKey6::new(&[1; 4], &[2; 4], &kind)), "{kind:?}");
        }
        assert!(!four.same(&FlowKey4::new(2, 1, &KIND)));
        for i in 0..4 {
            let mut other = [1; 4];
            other[i] = 7;
            assert!(!six.same(&FlowKey6::new(&other, &[2; 4], &KIND)));
            assert!(!six.same(&FlowKey6::new(&[2; 4], &other, &KIND)));
        }
    }

    #[test]
    fn like_flows_spread_over_the_buckets() {
        // A thousand connections of one client: ports or addresses that count up.
        let mut used = vec![vec![0u32; BUCKETS4 as usize]; 2];
        for i in 0..1000u16 {
            let kind = FlowKind { local_port: 32_768 + i, ..KIND };
            used[0][FlowKey4::new(1, 2, &kind).bucket() as usize] += 1;
            let remote = (0x0a00_0000 + u32::from(i)).to_be();
            used[1][FlowKey4::new(1, remote, &KIND).bucket() as usize] += 1;
        }
        for used in used {
            // Poisson: 1000 balls in 4096 bins leave about 8 in bins of three and more.
            let crowded: u32 = used.iter().filter(|&&n| n > 2).sum();
            assert!(crowded < 60, "{crowded} of 1000 flows share a bucket with two others");
        }
    }

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
