//! The journal of the Chaos Toolkit, for the tools that read it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::run::{Event, ProbeResult, Role, What};
use crate::verdict::Findings;

/// The version of the toolkit's library whose journals these look like.
const LIKE: &str = "1.45.0";

/// A run as the Chaos Toolkit would have written it down: `status` and `deviated` mean the same.
pub fn journal(events: &[Event], findings: &Findings) -> Option<Value> {
    let What::Began(info) = &events.first()?.event else { return None };
    let activities = |role: Role| -> Vec<Value> {
        results(events)
            .filter(|result| result.role == role && !is_fault(events, &result.name))
            .map(activity)
            .collect()
    };
    let mut run = activities(Role::Method);
    run.extend(faults(events));
    run.sort_by_key(|one| one.get("start").and_then(Value::as_str).map(ToOwned::to_owned));
    let before = state(events, Role::Before);
    let after = state(events, Role::After);
    let unmet = |state: &Value| state.get("steady_state_met") == Some(&Value::Bool(false));
    let failed = |state: &Value| {
        let probes = state.get("probes").and_then(Value::as_array);
        unmet(state) && probes.into_iter().flatten().any(|probe| probe["status"] != "succeeded")
    };
    let has = |wanted: fn(&What) -> bool| events.iter().any(|event| wanted(&event.event));
    let status = if has(|what| matches!(what, What::Interrupted)) {
        "interrupted"
    } else if has(|what| {
        matches!(what, What::Trouble { .. } | What::Refused(_) | What::Tripped { .. })
    }) {
        "aborted"
    } else if failed(&before)
        || failed(&after)
        || (has(|what| matches!(what, What::Deviated { .. })) && !unmet(&after))
    {
        "failed"
    } else {
        "completed"
    };
    let during: Vec<Value> = results(events)
        .filter(|result| result.role == Role::During)
        .map(|result| {
            let met = result.met.unwrap_or(true);
            json!({ "steady_state_met": met, "probes": [activity(result)] })
        })
        .collect();
    Some(json!({
        "chaoslib-version": LIKE,
        "platform": info.platform,
        "node": info.host,
        "experiment": info.experiment,
        "start": events.first()?.wall,
        "status": status,
        "deviated": unmet(&after),
        "steady_states": { "before": before, "after": after, "during": during },
        "run": run,
        "rollbacks": activities(Role::Rollback),
        "end": events.last()?.wall,
        "duration": events.last()?.at as f64 / 1e9,
        "chaos": { "verdict": findings.verdict, "because": findings.because, "failures": findings.failures },
    }))
}

/// Workloads are among the faults, and are shown as such.
fn is_fault(events: &[Event], name: &str) -> bool {
    events.iter().any(|event| matches!(&event.event, What::Arming(info) if info.fault == name))
}

fn results(events: &[Event]) -> impl Iterator<Item = &ProbeResult> {
    events.iter().filter_map(|event| match &event.event {
        What::Done(result) => Some(result.as_ref()),
        _ => None,
    })
}

fn activity(result: &ProbeResult) -> Value {
    let mut value = json!({
        "activity": result.activity,
        "output": result.output,
        "start": result.began_wall,
        "status": if result.error.is_none() { "succeeded" } else { "failed" },
        "end": later(&result.began_wall, result.took),
        "duration": result.took as f64 / 1e9,
    });
    if let Some(fields) = value.as_object_mut() {
        if let Some(error) = &result.error {
            fields.insert("exception".into(), json!([error]));
        }
        if result.role != Role::Method
            && result.role != Role::Rollback
            && let Some(met) = result.met
        {
            fields.insert("tolerance_met".into(), met.into());
        }
    }
    value
}

fn later(wall: &str, ns: u64) -> String {
    let moment: Result<Timestamp, _> = wall.parse();
    let then = moment.map(|at| at.saturating_add(SignedDuration::from_nanos(ns.cast_signed())));
    match then {
        Ok(Ok(then)) => format!("{then:.6}"),
        _ => wall.to_owned(),
    }
}

/// One look at the whole steady state; a probe that was repeated counts by its last look.
fn state(events: &[Event], role: Role) -> Value {
    let mut probes: Vec<&ProbeResult> = Vec::new();
    for result in results(events).filter(|result| result.role == role) {
        match probes.last_mut() {
            Some(last) if last.name == result.name => *last = result,
            _ => probes.push(result),
        }
    }
    if probes.is_empty() {
        return Value::Null;
    }
    let met = probes.iter().all(|probe| probe.met == Some(true));
    let probes: Vec<Value> = probes.into_iter().map(activity).collect();
    json!({ "steady_state_met": met, "probes": probes })
}

/// Faults as activities: what they did is their output.
fn faults(events: &[Event]) -> Vec<Value> {
    let mut all = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let What::Arming(info) = &event.event else { continue };
        let healed = events[at..].iter().find_map(|later| match &later.event {
            What::Healed(healed) if healed.fault == info.fault => Some((later, healed)),
            _ => None,
        });
        let (end, output, status) = match healed {
            Some((end, healed)) => (end, json!(healed.evidence), "succeeded"),
            None => (event, Value::Null, "failed"),
        };
        all.push(json!({
            "activity": info.activity,
            "output": output,
            "start": event.wall,
            "status": status,
            "end": end.wall,
            "duration": end.at.saturating_sub(event.at) as f64 / 1e9,
        }));
    }
    all
}
