//! Probes that look again and again while the method runs.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::log::EventLog;
use crate::experiment::{Activity, Phase, Span};

/// How often a probe that has nothing to do looks whether it does.
const IDLE: Duration = Duration::from_millis(2);
/// The longest sleep between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(20);
const EDGE: u8 = 3;

/// Which phase the run is in, shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

impl Stage {
    /// A phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Before => 0,
            Phase::Fault => 1,
            Phase::After => 2,
        };
        self.0.store(number, Ordering::Release);
    }

    /// A fault is being healed: what is seen now belongs to no phase.
    pub(super) fn edge(&self) {
        self.0.store(EDGE, Ordering::Release);
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        match self.0.load(Ordering::Acquire) {
            0 => Some(Phase::Before),
            1 => Some(Phase::Fault),
            2 => Some(Phase::After),
            _ => None,
        }
    }
}

/// A probe that is looked at again and again, and since when it has been holding.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    pub(super) probe: &'a Activity,
    /// Since when it has held without a break after the last fault; 0 while it does not.
    holds_since: AtomicU64,
}

impl<'a> Watched<'a> {
    pub(super) fn new(probe: &'a Activity) -> Self {
        Self { probe, holds_since: AtomicU64::new(0) }
    }

    /// Since when it has held after the last fault.
    pub(super) fn holds_since(&self) -> Option<u64> {
        match self.holds_since.load(Ordering::Acquire) {
            0 => None,
            since => Some(since),
        }
    }
}

/// Looks until told to stop, in every phase that the probe is about (or after the fault only).
pub(super) fn watch(
    watched: &Watched<'_>,
    stage: &Stage,
    stop: &AtomicBool,
    after_only: bool,
    frequency: Span,
    log: &EventLog<'_>,
    perform: &dyn Fn(&Activity) -> Option<bool>,
) {
    let clock = log.clock();
    while !stop.load(Ordering::Relaxed) {
        let phase = stage.phase();
        let due = phase.filter(|phase| watched.probe.during.has(*phase));
        let Some(phase) = due.filter(|phase| !after_only || *phase == Phase::After) else {
            watched.holds_since.store(0, Ordering::Release);
            clock.sleep(IDLE);
            continue;
        };
        let met = perform(watched.probe).unwrap_or(true);
        let still = stage.phase() == Some(phase);
        if phase == Phase::After && met && still {
            // Kept if it is set: the beginning of the streak counts.
            let now = clock.now().max(1);
            let _ =
                watched.holds_since.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
        } else {
            watched.holds_since.store(0, Ordering::Release);
        }
        let until = clock.now().saturating_add(frequency.nanos());
        while !stop.load(Ordering::Relaxed) && stage.phase() == Some(phase) {
            let remains = until.saturating_sub(clock.now());
            if remains == 0 {
                break;
            }
            clock.sleep(NAP.min(Duration::from_nanos(remains)));
        }
    }
}
