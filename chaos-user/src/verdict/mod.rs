//! The verdict: computed from the event log alone, without IO and without a clock.
//!
//! Five judgements are made one by one: did the fault act, were the expectations met, did the
//! system recover by itself, are the invariants intact, is the host clean. The verdict follows
//! from them and is never better than what was proven.

mod conclusion;
mod expectation;
mod failure;
mod findings;
mod judge;
mod recovered;
mod targets;
mod timeline;
mod times;

#[cfg(test)]
mod tests;

pub use expectation::{Expectation, Failure};
pub use failure::{FailureReport, LoggedLine};
pub use findings::{FaultReport, Findings, Judgement, Metrics, Question, Status, Verdict};
pub use judge::judge;
pub use targets::{DETECT_BELOW, MANUAL_STEPS_BELOW, PASS_RATE_ABOVE, RECOVER_BELOW};
pub use timeline::Timeline;
