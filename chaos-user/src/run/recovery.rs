//! Waiting for the system to recover by itself.

use std::time::Duration;

use super::clock::Clock;
use super::continuous::Watched;
use crate::experiment::{Phase, Recovery};

const TICK: Duration = Duration::from_millis(10);

/// Waits until everything that should hold after the fault has held for long enough, and says so,
/// or until the time is up. What that means is judged from the log.
pub(super) fn wait(
    watched: &[Watched<'_>],
    recovery: Recovery,
    clock: &dyn Clock,
    interrupted: &dyn Fn() -> bool,
) -> bool {
    let expected: Vec<_> =
        watched.iter().filter(|one| one.probe.during.has(Phase::After)).collect();
    if expected.is_empty() {
        return true;
    }
    let began = clock.now();
    let stable = recovery.stable.nanos();
    let most = recovery.within.nanos().saturating_add(stable);
    while clock.now().saturating_sub(began) < most && !interrupted() {
        let since: Option<Vec<u64>> = expected.iter().map(|one| one.holds_since()).collect();
        let latest = since.and_then(|since| since.into_iter().max());
        if latest.is_some_and(|latest| clock.now().saturating_sub(latest) >= stable) {
            return true;
        }
        clock.sleep(TICK);
    }
    false
}
