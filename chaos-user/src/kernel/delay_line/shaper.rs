//! A link of limited speed with a bounded queue before it.

use std::collections::VecDeque;

use super::setting::Rate;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Serialises packets: each begins when the one before is through.
///
/// It is exact: fractions of a nanosecond are carried on while the link is busy, so a thousand
/// packets take as long as their bytes need and not a thousand roundings more.
#[derive(Debug, Clone)]
pub(super) struct Shaper {
    rate: Rate,
    /// When the wire is free again, and the fraction of a nanosecond beyond, in units of 1 over
    /// the rate.
    free_at: u64,
    fraction: u64,
    /// What waits or is on the wire: when it will be through, and its size.
    queue: VecDeque<(u64, u64)>,
    queued_bytes: u64,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Shaper {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, free_at: 0, fraction: 0, queue: VecDeque::new(), queued_bytes: 0 }
    }

    /// Changes the speed for what comes from now on; what is queued keeps its time.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        if rate.bytes_per_second != self.rate.bytes_per_second {
            self.fraction = 0;
        }
        self.rate = rate;
    }

    /// When a packet that arrives now will have been sent. `packets` is how many packets on the
    /// wire it stands for (more than one when segmentation is offloaded).
    pub(super) fn admit(&mut self, now: u64, bytes: u32, packets: u32) -> Result<u64, Full> {
        while let Some(&(through, bytes)) = self.queue.front()
            && through <= now
        {
            self.queue.pop_front();
            self.queued_bytes -= bytes;
        }
        let overhead = i64::from(self.rate.overhead) * i64::from(packets);
        let bytes = (i64::from(bytes) + overhead).max(0) as u64;
        if !self.queue.is_empty() {
            // The one on the wire does not wait.
            let waiting = self.queue.len() as u64 - 1;
            let on_wire = self.queue.front().map_or(0, |first| first.1);
            let waiting_bytes = self.queued_bytes - on_wire;
            if waiting >= u64::from(self.rate.queue_packets)
                || waiting_bytes.saturating_add(bytes) > self.rate.queue_bytes
            {
                return Err(Full);
            }
        }
        if now > self.free_at {
            self.free_at = now;
            self.fraction = 0;
        }
        let rate = u128::from(self.rate.bytes_per_second.get());
        let needed = u128::from(bytes) * NANOS_PER_SECOND + u128::from(self.fraction);
        let nanos = u64::try_from(needed / rate).unwrap_or(u64::MAX);
        self.fraction = (needed % rate) as u64;
        self.free_at = self.free_at.saturating_add(nanos);
        self.queue.push_back((self.free_at, bytes));
        self.queued_bytes += bytes;
        Ok(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;

    fn rate(bytes_per_second: u64, queue_packets: u32, queue_bytes: u64) -> Rate {
        Rate {
            bytes_per_second: NonZeroU64::new(bytes_per_second).unwrap(),
            overhead: 0,
            queue_packets,
            queue_bytes,
        }
    }

    proptest! {
        #[test]
        fn a_busy_link_takes_exactly_as_long_as_its_bytes(
            speed in 1..20_000_000_000_u64,
            sizes in prop::collection::vec(0..70_000_u32, 1..300),
            start in 0..1_u64 << 50,
        ) {
            let mut shaper = Shaper::new(rate(speed, u32::MAX, u64::MAX));
            let mut sum = 0_u128;
            for size in sizes {
                sum += u128::from(size);
                let through = shaper.admit(start, size, 1).unwrap();
                let exact = sum * NANOS_PER_SECOND / u128::from(speed);
                prop_assert_eq!(u128::from(through - start), exact);
            }
        }

        #[test]
        fn never_faster_than_the_rate_nor_over_the_bound(
            speed in 1_000..1_000_000_000_u64,
            packets in prop::collection::vec((0..2_000_000_u64, 1..2_000_u32), 1..300),
            bound in 0..20_u32,
            bytes in 0..20_000_u64,
        ) {
            let mut shaper = Shaper::new(rate(speed, bound, bytes));
            let (mut now, mut before) = (0, 0);
            let mut sent: Vec<(u64, u64)> = Vec::new();
            for (wait, size) in packets {
                now += wait;
                let Ok(through) = shaper.admit(now, size, 1) else { continue };
                let needed = u128::from(size) * NANOS_PER_SECOND / u128::from(speed);
                let began = now.max(before);
                // One nanosecond is the fraction carried on from the packet before.
                prop_assert!(u128::from(through - began) >= needed);
                prop_assert!(u128::from(through - began) <= needed + 1);
                before = through;
                sent.push((through, u64::from(size)));
                let waiting: Vec<_> = sent.iter().filter(|one| one.0 > now).skip(1).collect();
                prop_assert!(waiting.len() as u64 <= u64::from(bound));
                prop_assert!(waiting.iter().map(|one| one.1).sum::<u64>() <= bytes);
            }
        }
    }

    #[test]
    fn overhead_counts_for_every_packet_on_the_wire() {
        let mut shaper = Shaper::new(Rate { overhead: 24, ..rate(1_000_000_000, 0, 0) });
        assert_eq!(shaper.admit(0, 3000, 2), Ok(3048));
        let mut shaper = Shaper::new(Rate { overhead: -5000, ..rate(1_000_000_000, 0, 0) });
        assert_eq!(shaper.admit(10, 3000, 1), Ok(10));
    }

    #[test]
    fn the_slowest_link_is_still_finite() {
        let mut shaper = Shaper::new(rate(1, u32::MAX, u64::MAX));
        assert_eq!(shaper.admit(u64::MAX - 5, 65_000, 1), Ok(u64::MAX));
    }
}
