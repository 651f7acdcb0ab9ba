//! Time, behind a trait so that the conductor can be tested without waiting.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where the conductor gets its time from.
pub trait Clock: Sync {
    /// Nanoseconds since the run began; never jumps.
    fn now(&self) -> u64;
    /// The time of day, RFC 3339 in UTC.
    fn wall(&self) -> String;
    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A run begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wall(&self) -> String {
        format!("{:.6}", Timestamp::now())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
