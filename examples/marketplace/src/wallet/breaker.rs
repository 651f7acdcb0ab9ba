//! A circuit breaker: stop asking a service that does not answer, and try it again with one call.

use std::time::{Duration, Instant};

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// All calls.
    Closed,
    /// One call, to see whether the service is back.
    HalfOpen,
    /// None.
    Open,
}

/// The breaker of one service. It reads no clock: callers say what time it is.
#[derive(Debug, Clone)]
pub struct Breaker {
    threshold: u32,
    cool_down: Duration,
    failures: u32,
    opened: Option<Instant>,
    trial: Option<Instant>,
}

impl Breaker {
    /// Opens after `threshold` failures in a row, for `cool_down`.
    #[must_use]
    pub fn new(threshold: u32, cool_down: Duration) -> Self {
        Self { threshold, cool_down, failures: 0, opened: None, trial: None }
    }

    /// Asks for permission to call; `Err` says when to ask again.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        // A trial whose caller went away must not keep the breaker half open for ever.
        let trial_runs = self.trial.is_some_and(|at| now.duration_since(at) < self.cool_down);
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            BreakerState::HalfOpen if !trial_runs => {
                self.trial = Some(now);
                Ok(())
            }
            BreakerState::HalfOpen => Err(self.cool_down),
            BreakerState::Open => {
                let since = self.opened.map_or(Duration::ZERO, |at| now.duration_since(at));
                Err(self.cool_down.saturating_sub(since))
            }
        }
    }

    /// The service answered.
    pub fn succeeded(&mut self) {
        (self.failures, self.opened, self.trial) = (0, None, None);
    }

    /// It did not.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.trial.take().is_some() || self.failures == self.threshold {
            self.opened = Some(now);
        }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.opened {
            None => BreakerState::Closed,
            Some(at) if now.duration_since(at) < self.cool_down => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL: Duration = Duration::from_secs(2);

    fn tripped(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, COOL);
        for _ in 0..3 {
            breaker.admit(now).unwrap();
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, COOL);
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.succeeded();
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        assert_eq!(tripped(now).state(now), BreakerState::Open);
        assert_eq!(tripped(now).admit(now + COOL / 2), Err(COOL / 2));
    }

    #[test]
    fn one_trial_decides() {
        let now = Instant::now();
        let later = now + COOL;
        let mut breaker = tripped(now);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.admit(later).is_ok());
        assert!(breaker.admit(later).is_err(), "a second trial at the same time");
        breaker.failed(later);
        assert_eq!(breaker.state(later), BreakerState::Open);
        assert!(breaker.admit(later + COOL).is_ok());
        breaker.succeeded();
        assert_eq!(breaker.state(later + COOL), BreakerState::Closed);
    }

    #[test]
    fn a_lost_trial_does_not_block_for_ever() {
        let now = Instant::now();
        let mut breaker = tripped(now);
        assert!(breaker.admit(now + COOL).is_ok());
        assert!(breaker.admit(now + COOL * 2).is_ok());
    }
}
