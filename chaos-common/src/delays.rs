//! How long packets were held: a histogram that the programs fill and the controller reads.
//!
//! Buckets are 256 ns wide up to 262 µs, and from there on a 512th to a 1024th of what they hold, so
//! that quantiles have three digits.

use crate::layout::shared;

/// Buckets: up to 73 minutes. The last one has everything beyond, too.
pub const BUCKETS: usize = 13_312;

/// The narrowest bucket, as a power of two ns.
const UNIT: u32 = 8;
/// Buckets of one width, as a power of two. Of the narrowest there are twice as many.
const FINE: u32 = 9;

shared! {
    /// How long packets of one rule were held.
    pub struct Delays [106_504] {
        /// All of them together, ns.
        pub sum: u64,
        /// How many fell into each [`bucket`].
        pub buckets: [u64; BUCKETS],
    }
}

/// Where a duration is counted.
#[inline(always)]
pub const fn bucket(nanos: u64) -> usize {
    let units = nanos >> UNIT;
    // How often the buckets have doubled: the bits above the lowest ones. They are counted in halves,
    // since the kernel's machine has no instruction for it.
    let mut above = units >> (FINE + 1);
    let mut doubled = 0;
    let mut half = 32;
    while half > 0 {
        if above >> half != 0 {
            above >>= half;
            doubled += half;
        }
        half /= 2;
    }
    doubled += above;
    let place = (doubled << FINE) + (units >> doubled);
    if place < BUCKETS as u64 { place as usize } else { BUCKETS - 1 }
}

/// The durations that a bucket is for, in ns: from the first to below the second.
pub const fn range(bucket: usize) -> (u64, u64) {
    let doubled = (bucket >> FINE).saturating_sub(1) as u32;
    let units = bucket as u64 - ((doubled as u64) << FINE);
    (units << (doubled + UNIT), (units + 1) << (doubled + UNIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut end = 0;
        for place in 0..BUCKETS {
            let (from, below) = range(place);
            assert_eq!(from, end, "{place}");
            assert_eq!(bucket(from), place);
            assert_eq!(bucket(below - 1), place);
            end = below;
        }
        assert_eq!(end, 1 << 42);
    }

    #[test]
    fn buckets_are_narrow() {
        for nanos in [300_000, 1_000_000, 10_000_000, 999_999_999, 3_600_000_000_000] {
            let (from, below) = range(bucket(nanos));
            assert!(from <= nanos && nanos < below, "{nanos}");
            assert!((below - from) * 512 <= nanos, "{nanos}: {from} to {below}");
        }
    }

    #[test]
    fn what_is_longer_is_in_the_last_one() {
        assert_eq!(bucket(1 << 42), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
