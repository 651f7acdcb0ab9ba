//! One probe or action: done, judged and recorded.

use serde_json::Value;

use super::event::{ProbeResult, Role, What};
use super::log::EventLog;
use super::world::World;
use super::written::{shortened, written};
use crate::experiment::{Activity, Experiment, Observation, Tolerance};

/// Runs a probe or an action, and records it.
pub(super) fn perform(
    world: &dyn World,
    log: &EventLog<'_>,
    experiment: &Experiment,
    activity: &Activity,
    role: Role,
) -> Option<bool> {
    let began = (log.clock().now(), log.clock().wall());
    let seen = world.perform(activity);
    record(world, log, experiment, activity, role, began, seen)
}

/// Judges what was seen, and records it.
pub(super) fn record(
    world: &dyn World,
    log: &EventLog<'_>,
    experiment: &Experiment,
    activity: &Activity,
    role: Role,
    (began, began_wall): (u64, String),
    seen: Observation,
) -> Option<bool> {
    let met = met(world, activity, &seen);
    // Before anything is cut: half a secret is not recognised any more.
    let seen = seen.hidden(log.redactor());
    let words = Tolerance::describe_seen(&seen);
    let output = if matches!(role, Role::During | Role::Safeguard) {
        shortened(seen.output)
    } else {
        seen.output
    };
    let activity_written = match role {
        // The same again and again; the journal takes it from the experiment.
        Role::During | Role::Safeguard => Value::Null,
        _ => written(experiment, &activity.name),
    };
    log.record(What::Done(Box::new(ProbeResult {
        name: activity.name.clone(),
        kind: activity.kind,
        role,
        began,
        began_wall,
        took: seen.took,
        output,
        error: seen.error,
        met,
        seen: words,
        activity: activity_written,
    })));
    met
}

/// Whether the outcome is as it has to be, which another probe may have to say.
fn met(world: &dyn World, activity: &Activity, seen: &Observation) -> Option<bool> {
    match activity.tolerance.as_ref()? {
        Tolerance::Probe(_) if seen.error.is_some() => Some(false),
        Tolerance::Probe(probe) => {
            let asked = probe.about(&seen.output, activity.from.as_deref());
            let answer = world.perform(&asked);
            let accepts = |tolerance: &Tolerance| tolerance.accepts(&answer);
            Some(asked.tolerance.as_ref().map_or(answer.error.is_none(), accepts))
        }
        tolerance => Some(tolerance.accepts(seen)),
    }
}
