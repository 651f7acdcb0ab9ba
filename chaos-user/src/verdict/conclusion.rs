//! What the judgements come to.

use super::expectation::Expectation;
use super::findings::{FaultReport, Judgement, Question, Status, Verdict};
use crate::exit::Exit;
use crate::experiment::Kind;
use crate::fault::proven;
use crate::run::{Event, Role, RunInfo, What};

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
pub(super) fn excused(
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

/// The verdict that the judgements come to, its exit code, and why in one line.
pub(super) fn verdict(
    events: &[Event],
    judgements: &[Judgement],
    excused: bool,
) -> (Verdict, u8, String) {
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
