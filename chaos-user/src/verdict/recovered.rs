//! Did the system recover by itself, and how fast?

use super::expectation::{Look, looks};
use super::failure::FailureReport;
use super::findings::{Judgement, Question, Status};
use super::timeline::Timeline;
use super::times::Timed;
use crate::experiment::Phase;
use crate::run::{Event, ProbeSpec, Role, RunInfo, What};

/// What is known about the recovery.
pub(super) struct Recovery {
    /// The answer.
    pub(super) judgement: Judgement,
    /// From the end of the fault until everything held for good, by itself or not.
    pub(super) took: Option<Timed>,
    /// How many manual steps were done; `None` without a fault to recover from.
    pub(super) steps: Option<u32>,
    /// What had not come back.
    pub(super) failures: Vec<FailureReport>,
}

pub(super) fn recovered(info: &RunInfo, events: &[Event], timeline: &Timeline) -> Recovery {
    let question = Question::Recovered;
    let expected: Vec<&ProbeSpec> =
        info.probes.iter().filter(|spec| spec.steady && spec.during.has(Phase::After)).collect();
    let healed = timeline.healed().filter(|_| timeline.first_active().is_some());
    let (Some(healed), false) = (healed, info.faults == 0 || expected.is_empty()) else {
        return steady_after(info, events);
    };
    let mut status = Status::Holds;
    let (mut reasons, mut failures) = (Vec::new(), Vec::new());
    // How long it took, as long as all came back, and what is sure to have taken so long.
    let mut all = Some((0, 0));
    for spec in expected {
        let within = spec.within.unwrap_or(info.recovery_within);
        let late = healed.saturating_add(within.nanos());
        // One that hung from before until it was too late leaves no time for another.
        let hung = |look: &Look<'_>| look.result.met != Some(true) && look.ended > late;
        let after: Vec<Look<'_>> = looks(events, timeline, &spec.name)
            .filter(|look| look.phase == Some(Phase::After) || hung(look))
            .filter(|look| matches!(look.result.role, Role::During | Role::After))
            .collect();
        let last_failed = after.iter().rposition(|look| look.result.met != Some(true));
        match after.get(last_failed.map_or(0, |at| at + 1)) {
            None if after.is_empty() => {
                if status == Status::Holds {
                    status = Status::Unproven;
                }
                all = None;
                reasons.push(format!("`{}` was not looked at after the fault", spec.name));
            }
            None => {
                status = Status::Broken;
                all = None;
                let last = failure(spec, &after);
                let (seen, at) = last.as_ref().map_or(("", 0), |one| (one.seen.as_str(), one.at));
                reasons.push(format!(
                    "`{}`: expected {}, still {seen} at {}",
                    spec.name,
                    spec.expected,
                    at_moment(at)
                ));
                failures.extend(last);
            }
            Some(back) => {
                let unseen = last_failed.and_then(|at| after.get(at));
                let Timed { took, bound } =
                    Timed::of(healed, back, unseen.map(|look| look.result.began));
                let sure = took.saturating_sub(bound);
                all = all.map(|(took_all, sure_all)| (took.max(took_all), sure.max(sure_all)));
                if took > within.nanos().saturating_add(info.frequency.nanos()) {
                    status = Status::Broken;
                    reasons.push(format!(
                        "`{}` came back after {:.3} s, which is more than {within}",
                        spec.name,
                        took as f64 / 1e9,
                    ));
                    failures.extend(failure(spec, &after));
                }
            }
        }
    }
    let took = all.map(|(took, sure)| Timed { took, bound: took.saturating_sub(sure) });
    let steps = manual(events);
    if !steps.is_empty() {
        status = Status::Broken;
        let names = steps.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let count = plural(steps.len(), "manual step");
        let text = match took {
            Some(Timed { took, .. }) => {
                let took = took as f64 / 1e9;
                format!("it recovered with {count} ({names}), {took:.3} s after the fault ended")
            }
            None => format!("it did not recover, not even with {count} ({names})"),
        };
        reasons.insert(0, text);
    }
    if let (Status::Holds, Some(took)) = (status, took) {
        reasons.push(format!("{:.3} s after the fault ended", took.took as f64 / 1e9));
    }
    let steps = u32::try_from(steps.len()).ok();
    Recovery { judgement: Judgement { question, status, reasons }, took, steps, failures }
}

/// The manual steps that were done, in order.
fn manual(events: &[Event]) -> Vec<&str> {
    let steps = events.iter().filter_map(|event| match &event.event {
        What::Done(result) if result.role == Role::Recovery => Some(result.name.as_str()),
        _ => None,
    });
    steps.collect()
}

/// The last look that was not as expected.
fn failure(spec: &ProbeSpec, after: &[Look<'_>]) -> Option<FailureReport> {
    let failed = || after.iter().filter(|look| look.result.met != Some(true));
    let last = failed().next_back()?;
    Some(FailureReport {
        question: Question::Recovered,
        probe: spec.name.clone(),
        phase: Some(Phase::After),
        expected: spec.expected.clone(),
        seen: last.result.seen.clone(),
        at: last.ended,
        wall: last.result.began_wall.clone(),
        failures: failed().count(),
        looks: after.len(),
        log: Vec::new(),
    })
}

/// Without a fault of this tool's own: whether the steady state held after the method.
fn steady_after(info: &RunInfo, events: &[Event]) -> Recovery {
    let question = Question::Recovered;
    let after = events.iter().filter_map(|event| match &event.event {
        What::Done(result) if result.role == Role::After => Some(result),
        _ => None,
    });
    let (mut status, mut reasons, mut failures) = (Status::NotAsked, Vec::new(), Vec::new());
    for result in after {
        if result.met == Some(true) {
            if status == Status::NotAsked {
                status = Status::Holds;
            }
            continue;
        }
        status = Status::Broken;
        let spec = info.probes.iter().find(|spec| spec.name == result.name);
        let expected = spec.map_or("", |spec| spec.expected.as_str());
        let ended = result.began.saturating_add(result.took);
        reasons.push(format!(
            "`{}`: expected {expected}, got {} at {}",
            result.name,
            result.seen,
            at_moment(ended)
        ));
        failures.push(FailureReport {
            question,
            probe: result.name.clone(),
            phase: Some(Phase::After),
            expected: expected.to_owned(),
            seen: result.seen.clone(),
            at: ended,
            wall: result.began_wall.clone(),
            failures: 1,
            looks: 1,
            log: Vec::new(),
        });
    }
    Recovery {
        judgement: Judgement { question, status, reasons },
        took: None,
        steps: None,
        failures,
    }
}

fn at_moment(at: u64) -> String {
    format!("+{:.3} s", at as f64 / 1e9)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
