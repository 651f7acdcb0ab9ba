//! One expectation, and whether it was met.

use serde::{Deserialize, Serialize};

use super::findings::Status;
use super::timeline::Timeline;
use crate::experiment::{Percent, Phase};
use crate::run::{Event, ProbeResult, ProbeSpec, Role, What};

/// What one probe was expected to see in one phase, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The probe.
    pub probe: String,
    /// The phase; `None` for probes of the method and invariants.
    pub phase: Option<Phase>,
    /// Whether it is an invariant.
    pub invariant: bool,
    /// Its tolerance in words.
    pub expected: String,
    /// Whether it was met.
    pub status: Status,
    /// How many looks were judged.
    pub looks: usize,
    /// How many of them were not as expected.
    pub failures: usize,
    /// The first that was not.
    pub first: Option<Failure>,
}

/// A look that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it ended, in the log's time.
    pub at: u64,
    /// The time of day when it began.
    pub wall: String,
    /// What was seen.
    pub seen: String,
}

/// A look at something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) result: &'a ProbeResult,
    pub(super) ended: u64,
    pub(super) phase: Option<Phase>,
}

/// Every look of a probe, in the order of their ends.
pub(super) fn looks<'a>(
    events: &'a [Event],
    timeline: &'a Timeline,
    probe: &'a str,
) -> impl Iterator<Item = Look<'a>> {
    events.iter().filter_map(move |event| match &event.event {
        What::Done(result) if result.name == probe => {
            let ended = result.began.saturating_add(result.took);
            Some(Look { result, ended, phase: timeline.phase(result.began, ended) })
        }
        _ => None,
    })
}

/// What a probe of the steady state showed in a phase.
pub(super) fn in_phase(
    spec: &ProbeSpec,
    phase: Phase,
    events: &[Event],
    timeline: &Timeline,
) -> Expectation {
    let all: Vec<Look<'_>> = looks(events, timeline, &spec.name)
        .filter(|look| look.phase == Some(phase))
        .filter(|look| matches!(look.result.role, Role::Before | Role::During | Role::After))
        .collect();
    let grace = spec.within.unwrap_or_default().nanos();
    let start = |look: &Look<'_>| match phase {
        Phase::Before => 0,
        Phase::Fault => timeline.active_since(look.result.began).unwrap_or(0),
        Phase::After => timeline.healed().unwrap_or(0),
    };
    let mut judged: Vec<Look<'_>> = match phase {
        // The gate repeats a probe until it holds: its last look counts, and all later ones.
        Phase::Before => {
            let gate = all.iter().rposition(|look| look.result.role == Role::Before).unwrap_or(0);
            all.get(gate..).unwrap_or_default().to_vec()
        }
        _ => all
            .iter()
            .filter(|look| look.result.began >= start(look).saturating_add(grace))
            .copied()
            .collect(),
    };
    if judged.is_empty() {
        judged.extend(all.last());
    }
    if phase == Phase::Fault {
        judged.extend(across(spec, events, timeline, grace));
        judged.sort_by_key(|look| look.ended);
    }
    expectation(spec, Some(phase), false, &judged)
}

/// Looks that failed across a change, such as those that hang from the fault until it is over. They
/// are held against the system where it is expected to hold on both sides of the change; one that
/// succeeded says about neither side enough.
fn across<'a>(
    spec: &'a ProbeSpec,
    events: &'a [Event],
    timeline: &'a Timeline,
    grace: u64,
) -> impl Iterator<Item = Look<'a>> {
    looks(events, timeline, &spec.name)
        .filter(|look| matches!(look.result.role, Role::Before | Role::During | Role::After))
        .filter(|look| look.result.met != Some(true))
        .filter(move |look| {
            timeline.crossing(look.result.began, look.ended).is_some_and(|crossing| {
                let began = look.result.began.max(crossing.since);
                spec.during.hold(crossing.phases) && began >= crossing.since.saturating_add(grace)
            })
        })
}

/// What a probe that is run once (or until it holds) showed.
pub(super) fn once(
    spec: &ProbeSpec,
    role: Role,
    events: &[Event],
    timeline: &Timeline,
) -> Expectation {
    let mut all: Vec<Look<'_>> =
        looks(events, timeline, &spec.name).filter(|look| look.result.role == role).collect();
    if role == Role::Invariant {
        all.drain(..all.len().saturating_sub(1));
    }
    expectation(spec, None, role == Role::Invariant, &all)
}

/// Whether enough of so many looks were as expected.
fn enough(spec: &ProbeSpec, looks: usize, failures: usize) -> bool {
    let good = (looks - failures) as u128 * u128::from(Percent::ALL.ppb());
    spec.share.map_or(failures == 0, |share| good >= looks as u128 * u128::from(share.ppb()))
}

fn expectation(
    spec: &ProbeSpec,
    phase: Option<Phase>,
    invariant: bool,
    judged: &[Look<'_>],
) -> Expectation {
    let failed: Vec<&Look<'_>> =
        judged.iter().filter(|look| look.result.met != Some(true)).collect();
    let status = match (judged.len(), failed.len()) {
        (0, _) => Status::Unproven,
        (looks, failures) if enough(spec, looks, failures) => Status::Holds,
        _ => Status::Broken,
    };
    Expectation {
        probe: spec.name.clone(),
        phase,
        invariant,
        expected: spec.expected.clone(),
        status,
        looks: judged.len(),
        failures: failed.len(),
        first: failed.first().map(|look| Failure {
            at: look.ended,
            wall: look.result.began_wall.clone(),
            seen: look.result.seen.clone(),
        }),
    }
}
