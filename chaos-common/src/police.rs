//! A token bucket in one word: the moment at which it will be full again.

/// A unit is 1/16 ns: a whole nanosecond would be too coarse for small packets at high rates.
pub const UNITS_PER_NS: u64 = 16;

/// Fractional bits of the cost of a byte.
const SHIFT: u32 = 20;

/// Longest packet whose cost is exact, in bytes.
const LONGEST: u64 = 1 << 20;

/// Lowest rate, in bits per second: its cost of [`LONGEST`] bytes fits a word.
pub const MIN_RATE: u64 = 8_000;

/// Longest burst, in units: a day.
pub const MAX_BURST: u64 = 86_400 * 1_000_000_000 * UNITS_PER_NS;

/// What a byte costs at a rate in bits per second, at least [`MIN_RATE`]: units of time, with 20
/// fractional bits, rounded up.
pub const fn byte_cost(bits_per_second: u64) -> u64 {
    let one_second = (8 * 1_000_000_000 * UNITS_PER_NS as u128) << SHIFT;
    one_second.div_ceil(bits_per_second as u128) as u64
}

/// The burst as a span of time, at most [`MAX_BURST`].
pub const fn burst(bits_per_second: u64, bytes: u64) -> u64 {
    let units = (byte_cost(bits_per_second) as u128 * bytes as u128) >> SHIFT;
    if units > MAX_BURST as u128 { MAX_BURST } else { units as u64 }
}

/// What a packet costs, in units; less than one too little.
#[inline(always)]
pub const fn cost(byte_cost: u64, bytes: u64) -> u64 {
    let bytes = if bytes > LONGEST { LONGEST } else { bytes };
    (byte_cost.wrapping_mul(bytes)) >> SHIFT
}

/// Whether a packet that comes at `now` (ns) conforms, and the next state; a bucket that was never
/// used has state 0 and is full. A packet that exceeds the rate leaves the bucket as it is.
#[inline(always)]
pub const fn conforms(state: u64, now: u64, cost: u64, burst: u64) -> (u64, bool) {
    let now = now.wrapping_mul(UNITS_PER_NS);
    let start = if state > now { state } else { now };
    let end = start.wrapping_add(cost);
    if end.wrapping_sub(now) > burst { (state, false) } else { (end, true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bucket as textbooks have it, in 128 bits: bytes × bits per second × ns do not fit 64.
    struct Textbook {
        level: u128,
        full: u128,
        last: u64,
        rate: u128,
    }

    /// Level in 1/(8 × 10^9) bytes.
    const BYTE: u128 = 8_000_000_000;

    impl Textbook {
        fn offer(&mut self, now: u64, bytes: u64) -> bool {
            let gained = u128::from(now - self.last) * self.rate;
            self.level = (self.level + gained).min(self.full);
            self.last = now;
            let wanted = u128::from(bytes) * BYTE;
            let fits = wanted <= self.level;
            self.level -= if fits { wanted } else { 0 };
            fits
        }
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow_and_not_much_less(
            rate in MIN_RATE..400_000_000_000u64,
            burst_bytes in 2_000u64..1_000_000,
            start in 0u64..1 << 58,
            packets in prop::collection::vec((0u64..2_000_000, 60u64..2_000), 1..200),
        ) {
            let (per_byte, burst) = (byte_cost(rate), burst(rate, burst_bytes));
            let (mut state, mut now, mut passed) = (0, start, 0u128);
            let mut first = true;
            for (gap, bytes) in packets {
                now += gap;
                let (next, fits) = conforms(state, now, cost(per_byte, bytes), burst);
                state = next;
                passed += if fits { u128::from(bytes) } else { 0 };
                if first {
                    prop_assert!(fits, "a full bucket holds a packet");
                }
                first = false;
                let earned = u128::from(now - start) * u128::from(rate) / BYTE;
                let most = u128::from(burst_bytes) + earned;
                // Each packet costs less than a unit too little.
                prop_assert!(passed <= most + most / 1000 + 200, "{passed} of {most}");
            }
        }

        #[test]
        fn agrees_with_a_textbook_bucket_but_for_rounding(
            rate in MIN_RATE..100_000_000u64,
            burst_bytes in 2_000u64..200_000,
            packets in prop::collection::vec((0u64..20_000_000, 60u64..2_000), 1..200),
        ) {
            let (per_byte, burst) = (byte_cost(rate), burst(rate, burst_bytes));
            let full = u128::from(burst_bytes) * BYTE;
            let mut textbook = Textbook { level: full, full, last: 1, rate: u128::from(rate) };
            let (mut state, mut now) = (0, 1);
            for (gap, bytes) in packets {
                now += gap;
                let (next, fits) = conforms(state, now, cost(per_byte, bytes), burst);
                let before = textbook.level;
                let expected = textbook.offer(now, bytes);
                if fits != expected {
                    // Only where the level was within a byte of what the packet needs.
                    let level = textbook.level + if expected { u128::from(bytes) * BYTE } else { 0 };
                    let wanted = u128::from(bytes) * BYTE;
                    prop_assert!(level.abs_diff(wanted) < BYTE, "{before} {level} {wanted}");
                    return Ok(());
                }
                state = next;
            }
        }
    }

    #[test]
    fn the_slowest_and_the_fastest_rate_fit_a_word() {
        for rate in [MIN_RATE, 1_000_000_000_000, u64::MAX] {
            let per_byte = byte_cost(rate);
            assert!(per_byte > 0);
            assert!(u128::from(per_byte) * u128::from(LONGEST) < u128::from(u64::MAX), "{rate}");
            assert!(burst(rate, u64::MAX) <= MAX_BURST);
        }
    }
}
