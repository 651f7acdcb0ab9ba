//! The five judgements and the verdict.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::expectation::{Expectation, in_phase, once};
use super::failure::FailureReport;
use super::recovered::recovered;
use super::timeline::Timeline;
use super::times::detected;
use crate::exit::Exit;
use crate::experiment::{Kind, Phase};
use crate::fault::{MeasuredDelay, RuleEvidence, doubt, proven};
use crate::guard::Clearance;
use crate::run::{Event, ProbeSpec, Role, RunInfo, What};

/// How a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The fault acted, and everything held.
    Pass,
    /// The system did not meet its expectations.
    Fail,
    /// Nothing was shown: the fault did not act, or something was never looked at.
    Inconclusive,
    /// A guard tripped, or the user interrupted.
    Aborted,
    /// The tool could not do its work.
    Error,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Aborted => "ABORTED",
            Self::Error => "ERROR",
        })
    }
}

/// The answer to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Yes.
    Holds,
    /// No.
    Broken,
    /// It could not be shown.
    Unproven,
    /// The experiment does not ask it.
    NotAsked,
}

impl Status {
    /// In a word, for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "yes",
            Self::Broken => "NO",
            Self::Unproven => "unproven",
            Self::NotAsked => "-",
        }
    }
}

/// One of the five questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Did the fault act?
    FaultActed,
    /// Did the system meet its expectations?
    ExpectationsMet,
    /// Did it recover by itself?
    Recovered,
    /// Are the invariants intact?
    InvariantsIntact,
    /// Is the host as it was?
    HostClean,
}

impl Question {
    /// In words, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::FaultActed => "fault acted",
            Self::ExpectationsMet => "expectations met",
            Self::Recovered => "recovered by itself",
            Self::InvariantsIntact => "invariants intact",
            Self::HostClean => "host clean",
        }
    }
}

/// A question, its answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// What was asked.
    pub question: Question,
    /// The answer.
    pub status: Status,
    /// Why, one reason each.
    pub reasons: Vec<String>,
}

/// A fault and the proof of what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its name.
    pub fault: String,
    /// Whether it is a workload beside the experiment's faults.
    #[serde(default)]
    pub beside: bool,
    /// What its rules say, in the order of the evidence.
    pub rules: Vec<(String, String)>,
    /// What its rules did.
    pub evidence: Vec<RuleEvidence>,
    /// Who held packets, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// How long packets were held, by rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<MeasuredDelay>,
    /// How long it was active, in nanoseconds.
    pub lasted: Option<u64>,
    /// What is worth a warning.
    pub remarks: Vec<String>,
}

/// Times that are measured, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// From the beginning of the fault that was detected first until the end of the look that did so.
    pub time_to_detect: Option<u64>,
    /// How much earlier it may have been detectable: the last look that saw nothing began so long
    /// before the end of the one that did.
    pub detect_bound: Option<u64>,
    /// From the end of the fault until everything held again for good.
    pub time_to_recover: Option<u64>,
    /// How much earlier that may have been: the last look that failed began so long before the end of
    /// the one that showed it.
    pub recover_bound: Option<u64>,
    /// How many manual steps it took to recover; `None` when nothing was to recover from.
    pub manual_steps: Option<u32>,
}

/// Everything that a run showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The experiment's name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line.
    pub because: String,
    /// The exit code.
    pub exit: u8,
    /// The five judgements.
    pub judgements: Vec<Judgement>,
    /// The proof that faults acted.
    pub faults: Vec<FaultReport>,
    /// What was expected, and what was seen.
    pub expectations: Vec<Expectation>,
    /// Each that was not met, with the target's logs around it.
    pub failures: Vec<FailureReport>,
    /// What was measured.
    pub metrics: Metrics,
    /// The time of day when it began.
    pub began: String,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// What random decisions were seeded with.
    pub seed: u64,
    /// The version of the tool.
    pub tool: String,
    /// The host it ran on.
    pub host: String,
    /// What the guards let begin: where, who approved, and how far it reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearance: Option<Clearance>,
}

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

/// Why a guard ended the run or did not let it begin, if one did.
fn guarded(events: &[Event]) -> Option<String> {
    events.iter().find_map(|event| match &event.event {
        What::Refused(reasons) => {
            Some(format!("not allowed, and nothing was touched: {}", reasons.join("; ")))
        }
        What::Tripped { probe } => {
            let last = events.iter().rev().find_map(|event| match &event.event {
                What::Done(result) if result.name == *probe && result.met == Some(false) => {
                    Some(result.seen.as_str())
                }
                _ => None,
            });
            Some(format!(
                "the safeguard `{probe}` did not hold ({}), so everything was healed at once",
                last.unwrap_or("nothing seen")
            ))
        }
        _ => None,
    })
}

/// Whether whatever did not act is no reason for doubt, because other faults did and had broken the
/// system by then, or because it is traffic beside them: what is down can hardly be reached by more.
fn excused(
    info: &RunInfo,
    events: &[Event],
    faults: &[FaultReport],
    expectations: &[Expectation],
) -> bool {
    let acted = |fault: &FaultReport| proven(&fault.evidence, &fault.delays);
    let armed = |fault: &FaultReport| {
        events.iter().find_map(|event| match &event.event {
            What::Arming(info) if info.fault == fault.fault => Some(event.at),
            _ => None,
        })
    };
    let broke =
        expectations.iter().filter_map(|one| one.first.as_ref()).map(|first| first.at).min();
    let late = |fault: &FaultReport| broke.is_some_and(|broke| armed(fault) > Some(broke));
    let failed = events.iter().any(|event| {
        matches!(&event.event, What::Done(result)
            if result.kind == Kind::Action && result.role == Role::Method && result.error.is_some())
    });
    faults.len() == info.faults
        && !failed
        && faults.iter().any(|one| !one.beside && acted(one))
        && faults.iter().all(|one| acted(one) || one.beside || late(one))
}

fn verdict(events: &[Event], judgements: &[Judgement], excused: bool) -> (Verdict, u8, String) {
    let of = |question| judgements.iter().find(|one| one.question == question);
    let why = |question| {
        let reasons = of(question).map(|one| one.reasons.as_slice()).unwrap_or_default();
        reasons.first().cloned().unwrap_or_default()
    };
    let is = |question, status| of(question).is_some_and(|one| one.status == status);
    let code = |verdict, exit: Exit, because| (verdict, exit as u8, because);
    let trouble = events.iter().find_map(|event| match &event.event {
        What::Trouble { text, exit } => Some((text.clone(), *exit)),
        _ => None,
    });
    let has = |wanted: fn(&What) -> bool| events.iter().any(|event| wanted(&event.event));
    if is(Question::HostClean, Status::Broken) {
        return code(Verdict::Error, Exit::NotHealed, why(Question::HostClean));
    }
    if let Some((text, exit)) = trouble {
        return (Verdict::Error, exit, text);
    }
    if has(|what| matches!(what, What::Interrupted)) {
        return code(Verdict::Aborted, Exit::Aborted, "interrupted by the user".into());
    }
    if let Some(why) = guarded(events) {
        return code(Verdict::Aborted, Exit::Aborted, why);
    }
    if is(Question::HostClean, Status::Unproven) {
        return code(Verdict::Error, Exit::ToolFailed, why(Question::HostClean));
    }
    let gate = events.iter().find_map(|event| match &event.event {
        What::GateClosed { probe } => Some(probe),
        _ => None,
    });
    if let Some(probe) = gate {
        let why = why(Question::ExpectationsMet);
        let why = if why.is_empty() { format!("`{probe}`") } else { why };
        let because = format!(
            "the steady state did not hold before the method, so nothing was injected: {why}"
        );
        return code(Verdict::Fail, Exit::Fail, because);
    }
    let judged = [Question::ExpectationsMet, Question::Recovered, Question::InvariantsIntact];
    let broken = judged.into_iter().find(|one| is(*one, Status::Broken));
    if is(Question::FaultActed, Status::Unproven) && !(excused && broken.is_some()) {
        let reasons = of(Question::FaultActed).map(|one| one.reasons.join("; "));
        return code(Verdict::Inconclusive, Exit::Inconclusive, reasons.unwrap_or_default());
    }
    if let Some(broken) = broken {
        return code(Verdict::Fail, Exit::Fail, why(broken));
    }
    if let Some(open) = judged.into_iter().find(|one| is(*one, Status::Unproven)) {
        return code(Verdict::Inconclusive, Exit::Inconclusive, why(open));
    }
    code(Verdict::Pass, Exit::Pass, "the fault acted, and everything held".into())
}
