//! Safeguards: probes that end a run at once when they do not hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::Clock;
use crate::experiment::Span;

/// The longest sleep between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(20);

/// Looks until `done`; calls `trip` once, when it does not hold for the first time.
pub(super) fn watch(
    frequency: Span,
    clock: &dyn Clock,
    tripped: &AtomicBool,
    done: &dyn Fn() -> bool,
    holds: &dyn Fn() -> bool,
    trip: &dyn Fn(),
) {
    while !done() {
        look(tripped, holds, trip);
        let until = clock.now().saturating_add(frequency.nanos());
        while !done() && clock.now() < until {
            clock.sleep(NAP.min(Duration::from_nanos(until.saturating_sub(clock.now()))));
        }
    }
}

/// Looks once.
pub(super) fn look(tripped: &AtomicBool, holds: &dyn Fn() -> bool, trip: &dyn Fn()) {
    if !holds() && !tripped.swap(true, Ordering::Relaxed) {
        trip();
    }
}
