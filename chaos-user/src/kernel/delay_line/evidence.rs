//! What is known about the work of one slot: counters, and how long packets were really held.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A packet that leaves this much after its deadline counts as late.
pub const LATE_AFTER: Duration = Duration::from_millis(1);

/// What happened to the packets of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets taken from the kernel (a segmented super-packet is one).
    pub arrived: u64,
    /// Their bytes on the wire.
    pub arrived_bytes: u64,
    /// Packets held at this moment.
    pub held: u64,
    /// Packets released after they were held.
    pub released: u64,
    /// Of the released: more than [`LATE_AFTER`] after their deadline.
    pub late: u64,
    /// Of the released: before their deadline, because the line or the slot was ended.
    pub early: u64,
    /// Of the arrived: chosen to overtake.
    pub overtook: u64,
    /// Packets delivered at once because they could not be held, or because the slot was retired
    /// while they were on their way.
    pub bypassed: u64,
    /// Packets dropped because a bounded queue was full.
    pub dropped: u64,
    /// Packets that the kernel refused to take back.
    pub refused: u64,
}

/// Durations as a histogram with an exact mean.
#[derive(Debug, Clone)]
pub struct Durations {
    histogram: Option<Histogram<u32>>,
    sum: u128,
    count: u64,
    max: u64,
}

impl Durations {
    /// Keeps `digits` significant digits of durations up to `highest` ns, and no more precision
    /// than `lowest` ns.
    fn new(lowest: u64, highest: u64, digits: u8) -> Self {
        // Bounds that the crate refuses would cost the quantiles, not the mean.
        let histogram = Histogram::new_with_bounds(lowest, highest, digits).ok();
        Self { histogram, sum: 0, count: 0, max: 0 }
    }

    /// Adds what others recorded.
    pub fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        self.max = self.max.max(other.max);
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both are alike wherever this is called; else this one's quantiles stay.
            let _ = histogram.add(other);
        }
    }

    fn record(&mut self, nanos: u64) {
        self.sum += u128::from(nanos);
        self.count += 1;
        self.max = self.max.max(nanos);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(nanos);
        }
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact mean; `None` when nothing was recorded.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(mean as u64))
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max))
    }

    /// The duration that the share `q` (0 to 1) does not exceed.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let histogram = self.histogram.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(Duration::from_nanos(histogram.value_at_quantile(q).min(self.max)))
    }
}

/// What one slot did.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What happened to its packets.
    pub counters: Counters,
    /// How long released packets were held: from when they left, or were read from the TAP where that
    /// is not known, until they were handed back to the kernel, to three digits.
    pub hold: Durations,
    /// How long after its deadline each of them left.
    pub lateness: Durations,
}

impl Default for Durations {
    /// From microseconds to hours, to three digits.
    fn default() -> Self {
        Self::new(1_000, 8_000_000_000_000, 3)
    }
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            hold: Durations::default(),
            lateness: Durations::new(16, 60_000_000_000, 2),
        }
    }
}

impl Evidence {
    /// A packet that arrived at `arrived` with this `deadline` was released at `now`.
    pub(super) fn released(&mut self, arrived: u64, deadline: u64, now: u64) {
        self.counters.held -= 1;
        self.counters.released += 1;
        self.hold.record(now.saturating_sub(arrived));
        let lateness = now.saturating_sub(deadline);
        self.lateness.record(lateness);
        if u128::from(lateness) > LATE_AFTER.as_nanos() {
            self.counters.late += 1;
        }
        if now < deadline {
            self.counters.early += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_has_no_mean() {
        let evidence = Evidence::default();
        assert_eq!(evidence.hold.mean(), None);
        assert_eq!(evidence.hold.quantile(0.5), None);
        assert_eq!(evidence.hold.max(), None);
    }

    #[test]
    fn quantiles_keep_three_digits_from_microseconds_to_an_hour() {
        for exact in [5_000, 1_000_000, 10_000_000, 2_000_000_000, 3_600_000_000_000_u64] {
            let mut evidence = Evidence::default();
            for _ in 0..100 {
                evidence.counters.held += 1;
                evidence.released(0, exact - 1, exact);
            }
            let median = evidence.hold.quantile(0.5).unwrap().as_nanos() as f64;
            let error = (median - exact as f64).abs();
            assert!(error <= (exact as f64 / 1000.0).max(600.0), "{exact}: {median}");
            assert_eq!(evidence.hold.mean(), Some(Duration::from_nanos(exact)));
            assert_eq!(evidence.lateness.max(), Some(Duration::from_nanos(1)));
            assert_eq!(evidence.counters.late, 0);
        }
    }

    #[test]
    fn sums_are_of_everything() {
        let mut sum = Durations::default();
        for times in [&[1_000_000, 3_000_000][..], &[5_000_000], &[]] {
            let mut one = Durations::default();
            for time in times {
                one.record(*time);
            }
            sum.add(&one);
        }
        assert_eq!((sum.count(), sum.mean()), (3, Some(Duration::from_millis(3))));
        assert_eq!(sum.max(), Some(Duration::from_millis(5)));
        let median = sum.quantile(0.5).unwrap().as_nanos() as f64;
        assert!((median - 3e6).abs() < 3e3, "{median}");
    }

    #[test]
    fn late_is_a_millisecond() {
        let mut evidence = Evidence::default();
        evidence.counters.held = 2;
        evidence.released(0, 10, 1_000_010);
        assert_eq!(evidence.counters.late, 0);
        evidence.released(0, 10, 1_000_011);
        assert_eq!(evidence.counters.late, 1);
        assert_eq!(evidence.counters.held, 0);
        assert_eq!(evidence.counters.early, 0);
        evidence.counters.held = 1;
        evidence.released(0, 10, 9);
        assert_eq!(evidence.counters.early, 1);
    }
}
