//! Takes secrets out of events. What an event is made of stays: only what is free text, and what
//! came from outside, is touched, so an event without secrets is an event still.

use serde_json::Value;

use super::event::{
    Ended, Event, FaultInfo, Healed, LogLine, Logged, ProbeResult, ProbeSpec, RuleText, RunInfo,
    What,
};
use crate::experiment::Redactor;
use crate::guard::{Approval, Clearance, Extent, FaultExtent};
use crate::workload::Operation;

/// Takes the secrets that `redactor` knows out of `event`.
///
/// Everything is taken apart by name, so that a new field does not compile before somebody has said
/// whether it is text. Names are hidden the same wherever they are, so they still refer to each other.
pub(super) fn hide(event: &mut Event, redactor: &Redactor) {
    let Event { at: _, wall: _, event: what } = event;
    let text = |text: &mut String| *text = redactor.text(text);
    let all = |texts: &mut Vec<String>| texts.iter_mut().for_each(text);
    match what {
        What::Began(info) => began(info, redactor),
        What::Ready(nodes) => nodes.iter_mut().for_each(|(node, addresses)| {
            text(node);
            all(addresses);
        }),
        What::Cleared(clearance) => cleared(clearance, redactor),
        What::Refused(reasons) => all(reasons),
        What::Tripped { probe } | What::GateClosed { probe } | What::Deviated { probe } => {
            text(probe);
        }
        What::Done(result) => done(result, redactor),
        What::Arming(FaultInfo { fault, lasts: _, beside: _, rules, activity }) => {
            text(fault);
            for RuleText { rule, text: says } in rules {
                text(rule);
                text(says);
            }
            document(activity, redactor);
        }
        What::Active { fault } | What::Healing { fault } => text(fault),
        What::Operations { workload, operations } => {
            text(workload);
            for operation in operations {
                let Operation {
                    number: _,
                    client: _,
                    step,
                    state: _,
                    at: _,
                    status: _,
                    payload: _,
                    unsent: _,
                    note,
                } = operation;
                text(step);
                note.iter_mut().for_each(text);
            }
        }
        What::Healed(Healed { fault, evidence, held_by, delays, error, remarks }) => {
            text(fault);
            for evidence in evidence {
                text(&mut evidence.rule);
            }
            all(held_by);
            for delay in delays {
                text(&mut delay.rule);
            }
            error.iter_mut().for_each(text);
            all(remarks);
        }
        What::Logged(Logged { source, lines, skipped: _ }) => {
            text(source);
            for LogLine { at: _, text: line } in lines {
                text(line);
            }
        }
        What::Interrupted => {}
        What::Trouble { text: told, exit: _ } => text(told),
        What::Ended(Ended { left, rolled_back: _ }) => all(left),
    }
}

fn began(info: &mut RunInfo, redactor: &Redactor) {
    let text = |text: &mut String| *text = redactor.text(text);
    let RunInfo {
        format: _,
        tool: _,
        name,
        title,
        seed: _,
        host,
        platform,
        probes,
        faults: _,
        recovery_within: _,
        recovery_stable: _,
        frequency: _,
        experiment,
    } = info;
    [name, title, host, platform].into_iter().for_each(text);
    for ProbeSpec { name, steady: _, expected, during: _, within: _, share: _, detects: _ } in
        probes
    {
        text(name);
        text(expected);
    }
    document(experiment, redactor);
}

fn done(result: &mut ProbeResult, redactor: &Redactor) {
    let text = |text: &mut String| *text = redactor.text(text);
    let ProbeResult {
        name,
        kind: _,
        role: _,
        began: _,
        began_wall: _,
        took: _,
        output,
        error,
        met: _,
        seen,
        activity,
    } = result;
    text(name);
    text(seen);
    error.iter_mut().for_each(text);
    *output = redactor.value(output);
    document(activity, redactor);
}

fn cleared(clearance: &mut Clearance, redactor: &Redactor) {
    let text = |text: &mut String| *text = redactor.text(text);
    // An environment is a word that policies know, and an extent says how much and for how long.
    let Clearance { environment: _, approval, extent } = clearance;
    if let Some(Approval { by, ticket, expires: _ }) = approval {
        text(by);
        text(ticket);
    }
    let Extent { faults, hosts_known: _, lasts: _ } = extent;
    for extent in faults {
        let FaultExtent { fault, duration: _, loss: _, delay: _, flows: _, hosts, instances } =
            extent;
        text(fault);
        for names in [hosts, instances] {
            *names = names.iter().map(|name| redactor.text(name)).collect();
        }
    }
}

fn document(value: &mut Value, redactor: &Redactor) {
    *value = redactor.document(value);
}
