//! The five judgements, from the events of a run.

use super::conclusion::{excused, verdict};
use super::expectation::{Expectation, in_phase, once};
use super::failure::FailureReport;
use super::findings::{FaultReport, Findings, Judgement, Metrics, Question, Status};
use super::recovered::recovered;
use super::timeline::Timeline;
use super::times::detected;
use crate::experiment::{Kind, Phase};
use crate::fault::doubt;
use crate::run::{Event, ProbeSpec, Role, RunInfo, What};

/// Judges a run by its events. `None` when they do not begin as a run does.
pub fn judge(events: &[Event]) -> Option<Findings> {
    let What::Began(info) = &events.first()?.event else { return None };
    let timeline = Timeline::of(events);
    let expectations = expectations(info, events, &timeline);
    let faults = faults(events, &timeline);
    let acted = acted(info, events, &faults);
    let met = met(&expectations);
    let recovery = recovered(info, events, &timeline);
    let detected = detected(info, events, &timeline);
    let intact = intact(&expectations);
    let clean = clean(events);
    let judgements = vec![acted, met, recovery.judgement, intact, clean];
    let failures = expectations.iter().filter_map(FailureReport::of).chain(recovery.failures);
    let failures = failures.map(|one| one.with_log(events)).collect();
    let (verdict, exit, because) =
        verdict(events, &judgements, excused(info, events, &faults, &expectations));
    Some(Findings {
        name: info.name.clone(),
        title: info.title.clone(),
        verdict,
        because,
        exit,
        judgements,
        faults,
        expectations,
        failures,
        metrics: Metrics {
            time_to_detect: detected.map(|timed| timed.took),
            detect_bound: detected.map(|timed| timed.bound),
            time_to_recover: recovery.took.map(|timed| timed.took),
            recover_bound: recovery.took.map(|timed| timed.bound),
            manual_steps: recovery.steps,
        },
        began: events.first()?.wall.clone(),
        took: events.last()?.at,
        seed: info.seed,
        tool: info.tool.clone(),
        host: info.host.clone(),
        clearance: events.iter().find_map(|event| match &event.event {
            What::Cleared(clearance) => Some(clearance.as_ref().clone()),
            _ => None,
        }),
    })
}

fn role_of(spec: &ProbeSpec, events: &[Event]) -> Role {
    let role = events.iter().find_map(|event| match &event.event {
        What::Done(result) if result.name == spec.name => Some(result.role),
        _ => None,
    });
    role.unwrap_or(Role::Invariant)
}

fn expectations(info: &RunInfo, events: &[Event], timeline: &Timeline) -> Vec<Expectation> {
    let mut all = Vec::new();
    for spec in &info.probes {
        if !spec.steady {
            all.push(once(spec, role_of(spec, events), events, timeline));
            continue;
        }
        let phases: &[Phase] =
            if info.faults == 0 { &[Phase::Before] } else { &[Phase::Before, Phase::Fault] };
        for phase in phases.iter().filter(|phase| spec.during.has(**phase)) {
            all.push(in_phase(spec, *phase, events, timeline));
        }
    }
    all
}

fn faults(events: &[Event], timeline: &Timeline) -> Vec<FaultReport> {
    let mut reports: Vec<FaultReport> = Vec::new();
    for event in events {
        match &event.event {
            What::Arming(info) => reports.push(FaultReport {
                fault: info.fault.clone(),
                beside: info.beside,
                rules: info.rules.iter().map(|r| (r.rule.clone(), r.text.clone())).collect(),
                evidence: Vec::new(),
                held_by: Vec::new(),
                delays: Vec::new(),
                lasted: timeline.lasted(&info.fault),
                remarks: Vec::new(),
            }),
            What::Healed(healed) => {
                let report = reports.iter_mut().rev().find(|report| report.fault == healed.fault);
                if let Some(report) = report {
                    report.evidence.clone_from(&healed.evidence);
                    report.held_by.clone_from(&healed.held_by);
                    report.delays.clone_from(&healed.delays);
                    report.remarks.clone_from(&healed.remarks);
                }
            }
            _ => {}
        }
    }
    reports
}

fn acted(info: &RunInfo, events: &[Event], faults: &[FaultReport]) -> Judgement {
    let mut reasons = Vec::new();
    let mut status = if info.faults == 0 { Status::NotAsked } else { Status::Holds };
    if faults.len() < info.faults {
        let missing = info.faults - faults.len();
        let before = deviated(events).map(|probe| format!(", because `{probe}` deviated before"));
        if before.is_none() {
            status = Status::Unproven;
        }
        let (all, why) = (info.faults, before.unwrap_or_default());
        reasons.push(format!("{missing} of {all} faults were never injected{why}"));
    }
    for fault in faults {
        let acted: u64 = fault.evidence.iter().map(|rule| rule.acted).sum();
        if acted == 0 {
            status = Status::Unproven;
            let seen: u64 = fault.evidence.iter().map(|rule| rule.seen).sum();
            reasons.push(format!("`{}` hit nothing: {seen} seen, none acted on", fault.fault));
        } else if let Some(doubt) = doubt(&fault.evidence, &fault.delays) {
            status = Status::Unproven;
            reasons.push(doubt);
        } else {
            reasons.push(format!("`{}` acted {acted} times", fault.fault));
        }
    }
    for event in events {
        if let What::Done(result) = &event.event
            && let (Kind::Action, Role::Method, Some(error)) =
                (result.kind, result.role, &result.error)
        {
            status = Status::Unproven;
            reasons.push(format!("the action `{}` failed: {error}", result.name));
        }
    }
    Judgement { question: Question::FaultActed, status, reasons }
}

/// The deviation that ended the method.
fn deviated(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match &event.event {
        What::Deviated { probe } => Some(probe.as_str()),
        _ => None,
    })
}

fn met(expectations: &[Expectation]) -> Judgement {
    let asked: Vec<&Expectation> = expectations.iter().filter(|one| !one.invariant).collect();
    judged(Question::ExpectationsMet, &asked)
}

fn intact(expectations: &[Expectation]) -> Judgement {
    let asked: Vec<&Expectation> = expectations.iter().filter(|one| one.invariant).collect();
    judged(Question::InvariantsIntact, &asked)
}

fn judged(question: Question, asked: &[&Expectation]) -> Judgement {
    let mut status = if asked.is_empty() { Status::NotAsked } else { Status::Holds };
    let mut reasons = Vec::new();
    for one in asked {
        let phase = one.phase.map_or_else(String::new, |phase| match phase {
            Phase::Before => " before the fault".into(),
            Phase::Fault => " under the fault".into(),
            Phase::After => " after the fault".into(),
        });
        match (one.status, &one.first) {
            (Status::Broken, Some(first)) => {
                status = Status::Broken;
                reasons.push(format!(
                    "`{}`{phase}: expected {}, got {} at +{:.3} s ({} of {} looks)",
                    one.probe,
                    one.expected,
                    first.seen,
                    first.at as f64 / 1e9,
                    one.failures,
                    one.looks,
                ));
            }
            (Status::Unproven, _) => {
                if status == Status::Holds {
                    status = Status::Unproven;
                }
                let hint = if one.phase == Some(Phase::Fault) {
                    ": no look fits into it; give the probe a shorter time-out or the fault more time"
                } else {
                    ""
                };
                reasons.push(format!("`{}`{phase} was never looked at{hint}", one.probe));
            }
            _ => {}
        }
    }
    if status == Status::Holds {
        let looks: usize = asked.iter().map(|one| one.looks).sum();
        reasons.push(format!("{} expectations, {looks} looks", asked.len()));
    }
    Judgement { question, status, reasons }
}

fn clean(events: &[Event]) -> Judgement {
    let mut left: Vec<String> = Vec::new();
    let mut status = Status::Unproven;
    for event in events {
        if let What::Ended(ended) = &event.event {
            status = if ended.left.is_empty() { Status::Holds } else { Status::Broken };
            left.clone_from(&ended.left);
        }
    }
    if status == Status::Unproven {
        left.push("the log ends before the run did; run `chaos heal`".into());
    }
    Judgement { question: Question::HostClean, status, reasons: left }
}
