//! How long packets were held that stayed in the kernel.

use std::time::Duration;

use aya::maps::Array;
use chaos_common::delays::{Delays, range};

use super::object::map_error;
use super::{BpfError, Object};

const MAP: &str = "DELAYS";

/// How long packets were held: from the moment they were taken aside until they were on their way
/// back, by the kernel's monotonic clock.
#[derive(Debug, Clone)]
pub struct HeldTimes(Box<Delays>);

impl HeldTimes {
    /// How many packets that was measured of.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().sum()
    }

    /// The exact mean; `None` if none was measured.
    pub fn mean(&self) -> Option<Duration> {
        self.0.sum.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The duration that the share `q` (0 to 1) does not exceed, to three digits; `None` if none was
    /// measured.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        for (place, &here) in self.0.buckets.iter().enumerate() {
            if below + here >= rank {
                // As if those of a bucket were spread evenly over it.
                let (from, end) = range(place);
                let share = (rank - below) as f64 - 0.5;
                let inside = (end - from) as f64 * share / here as f64;
                return Some(Duration::from_nanos(from + inside as u64));
            }
            below += here;
        }
        None
    }
}

impl Object {
    /// How long packets were held whose way is [measured](super::DetourVia::measured) at this index,
    /// since the object was loaded.
    pub fn held_times(&self, index: u32) -> Result<HeldTimes, BpfError> {
        let map = self.map(MAP)?;
        let delays: Array<_, Delays> = Array::try_from(map).map_err(map_error(MAP))?;
        Ok(HeldTimes(Box::new(delays.get(&index, 0).map_err(map_error(MAP))?)))
    }
}

#[cfg(test)]
mod tests {
    use chaos_common::delays::bucket;

    use super::*;

    fn held(times: impl IntoIterator<Item = u64>) -> HeldTimes {
        let mut delays = Box::new(Delays::ZERO);
        for nanos in times {
            delays.sum += nanos;
            delays.buckets[bucket(nanos)] += 1;
        }
        HeldTimes(delays)
    }

    #[test]
    fn nothing_measured_is_nothing() {
        let none = held([]);
        assert_eq!((none.count(), none.mean(), none.quantile(0.5)), (0, None, None));
    }

    #[test]
    fn the_mean_is_exact_and_quantiles_have_three_digits() {
        let times = held((1..=1000).map(|n| n * 100_000));
        assert_eq!(times.count(), 1000);
        assert_eq!(times.mean(), Some(Duration::from_micros(50_050)));
        for (q, exact) in [(0.0, 1e5), (0.5, 5e7), (0.99, 9.9e7), (1.0, 1e8)] {
            let found = times.quantile(q).unwrap().as_nanos() as f64;
            assert!((found - exact).abs() <= exact / 500.0, "{q}: {found}");
        }
    }

    #[test]
    fn one_packet_is_every_quantile() {
        let one = held([60_070_000]);
        for q in [0.0, 0.5, 0.99, 1.0] {
            let found = one.quantile(q).unwrap().as_nanos() as f64;
            assert!((found - 60_070_000.0).abs() <= 60_000.0, "{found}");
        }
    }
}
