//! Probes that look again and again while the method runs.

use std::sync::OnceLock;
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
pub(super) struct Stage {
    phase: AtomicU8,
    /// Since when.
    since: AtomicU64,
    /// The phase in which a deviation ends the method.
    fails_in: Option<Phase>,
    deviated: OnceLock<String>,
}

impl Stage {
    /// Before everything; the first deviation in the phase `fails_in` ends the method.
    pub(super) fn new(fails_in: Option<Phase>) -> Self {
        Self { fails_in, ..Self::default() }
    }

    /// A probe did not hold in a phase, all through its look that began then.
    fn missed(&self, probe: &Activity, phase: Phase, began: u64) {
        // As it is judged: later than it may take, and not where only the share of looks counts.
        let grace =
            if phase == Phase::Fault { probe.within.unwrap_or_default().nanos() } else { 0 };
        let due = began >= self.since.load(Ordering::Acquire).saturating_add(grace);
        let each = probe.tolerance.as_ref().is_some_and(|tolerance| tolerance.share().is_none());
        if self.fails_in == Some(phase) && due && each {
            // The first is told.
            let _ = self.deviated.set(probe.name.clone());
        }
    }

    /// The deviation that ends the method.
    pub(super) fn deviated(&self) -> Option<&str> {
        self.deviated.get().map(String::as_str)
    }

    /// A phase begins now.
    pub(super) fn enter(&self, phase: Phase, now: u64) {
        let number = match phase {
            Phase::Before => 0,
            Phase::Fault => 1,
            Phase::After => 2,
        };
        self.since.store(now, Ordering::Release);
        self.phase.store(number, Ordering::Release);
    }

    /// A fault is being healed: what is seen now belongs to no phase.
    pub(super) fn edge(&self) {
        self.phase.store(EDGE, Ordering::Release);
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        match self.phase.load(Ordering::Acquire) {
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
        let began = clock.now();
        let met = perform(watched.probe).unwrap_or(true);
        let still = stage.phase() == Some(phase);
        if !met && still {
            stage.missed(watched.probe, phase, began);
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::experiment::Experiment;

    #[test]
    fn only_what_is_judged_as_a_failure_ends_the_method() {
        let deviates = |fails_in, phase, began, more: Value| {
            let mut probe = json!({"name": "up", "tolerance": 200, "provider": {"type": "tcp",
                "host": "h", "port": 1}});
            let Value::Object(more) = more else { panic!("{more}") };
            probe.as_object_mut().unwrap().extend(more);
            let text = json!({"title": "t", "method": [], "steady-state-hypothesis":
                {"title": "h", "probes": [probe]}});
            let experiment = Experiment::parse(&text.to_string(), Path::new("t.json")).unwrap();
            let stage = Stage::new(fails_in);
            stage.enter(phase, 1_000_000_000);
            stage.missed(&experiment.hypothesis.unwrap().probes[0], phase, began);
            stage.deviated().is_some()
        };
        let (fault, soon, late) = (Some(Phase::Fault), 1_500_000_000, 2_000_000_000);
        assert!(deviates(fault, Phase::Fault, soon, json!({})));
        assert!(!deviates(None, Phase::Fault, soon, json!({})));
        assert!(!deviates(fault, Phase::After, soon, json!({})), "it may be recovering");
        assert!(!deviates(fault, Phase::Fault, soon, json!({"within": "1s"})));
        assert!(deviates(fault, Phase::Fault, late, json!({"within": "1s"})));
        let share = json!({"tolerance": {"type": "percentile", "share": "90%", "of": 200}});
        assert!(!deviates(fault, Phase::Fault, late, share));
    }
}
