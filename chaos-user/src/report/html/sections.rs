//! The tables of the page.

use maud::{Markup, html as markup};

use super::failures::when;
use super::{answer, ticked};
use crate::fault::MeasuredDelay;
use crate::report::terminal::{moment, seconds};
use crate::run::{Event, Role, RunInfo, What};
use crate::verdict::{DETECT_BELOW, Findings, MANUAL_STEPS_BELOW, RECOVER_BELOW, Status};

/// The five questions.
pub(super) fn judgements(findings: &Findings) -> Markup {
    markup! {
        section aria-labelledby="judgements" {
            h2 id="judgements" { "Five questions" }
            div class="scroll" {
                table class="judgements" {
                    thead { tr { th scope="col" { "question" } th scope="col" { "answer" } th scope="col" { "why" } } }
                    tbody {
                        @for judgement in &findings.judgements {
                            tr {
                                th scope="row" { (judgement.question.words()) }
                                td class="state" { (answer(judgement.status)) }
                                td { ul class="why" { @for reason in &judgement.reasons { li { (ticked(reason)) } } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was measured, against what it should be.
pub(super) fn metrics(findings: &Findings) -> Markup {
    let metrics = findings.metrics;
    let times = [
        (
            "time to detect",
            metrics.time_to_detect,
            metrics.detect_bound,
            DETECT_BELOW,
            "from the fault until it was noticed",
        ),
        (
            "time to recover",
            metrics.time_to_recover,
            metrics.recover_bound,
            RECOVER_BELOW,
            "from the end of the fault until all held again",
        ),
    ];
    markup! {
        section aria-labelledby="metrics" {
            h2 id="metrics" { "Metrics" }
            dl class="tiles" {
                @for (what, time, bound, target, meaning) in times {
                    div class="tile" {
                        dt { (what) }
                        @match time {
                            Some(time) => {
                                dd class="value" { (seconds(time)) }
                                dd { (reached(time < target)) " target: below " (target / 1_000_000_000) " s" }
                                @if let Some(bound) = bound {
                                    dd class="note" { "up to " (seconds(bound)) " less: nothing was seen in between" }
                                }
                            }
                            None => { dd class="value" { "–" } dd class="note" { "not measured" } }
                        }
                        dd class="note" { (meaning) }
                    }
                }
                @if let Some(steps) = metrics.manual_steps {
                    div class="tile" {
                        dt { "manual steps" }
                        dd class="value" { (steps) }
                        dd { (reached(steps < MANUAL_STEPS_BELOW)) " target: fewer than " (MANUAL_STEPS_BELOW) }
                        dd class="note" { "done because it did not recover by itself" }
                    }
                }
            }
        }
    }
}

fn reached(yes: bool) -> Markup {
    answer(if yes { Status::Holds } else { Status::Broken })
}

/// What the faults did.
pub(super) fn evidence(findings: &Findings) -> Markup {
    if findings.faults.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="evidence" {
            h2 id="evidence" { "Evidence" }
            @for fault in &findings.faults {
                div class="scroll" {
                    table {
                        caption {
                            "fault " b { (fault.fault) }
                            @if let Some(lasted) = fault.lasted { ", active for " (seconds(lasted)) }
                        }
                        thead {
                            tr {
                                th scope="col" { "rule" }
                                th scope="col" { "what it says" }
                                @for head in ["seen", "matched", "acted", "bytes"] {
                                    th scope="col" class="num" { (head) }
                                }
                            }
                        }
                        tbody {
                            @for (at, (rule, says)) in fault.rules.iter().enumerate() {
                                @let own = fault.evidence.iter().find(|one| one.rule == *rule)
                                    .or(fault.evidence.get(at));
                                tr {
                                    th scope="row" { (rule) }
                                    td { (says) }
                                    @match own {
                                        Some(one) => {
                                            @for count in [one.seen, one.matched, one.acted, one.bytes] {
                                                td class="num" { (count) }
                                            }
                                        }
                                        None => td colspan="4" { "no evidence" },
                                    }
                                }
                            }
                        }
                    }
                }
                @for holder in &fault.held_by { p { "Held by: " (holder) } }
                @if !fault.delays.is_empty() { (delays(&fault.delays)) }
                @for remark in &fault.remarks { p { "Note: " (ticked(remark)) } }
            }
        }
    }
}

/// How long packets were held.
fn delays(delays: &[MeasuredDelay]) -> Markup {
    markup! {
        div class="scroll" {
            table {
                thead {
                    tr {
                        th scope="col" { "rule" }
                        @for head in ["packets held", "mean", "p50", "p99"] {
                            th scope="col" class="num" { (head) }
                        }
                    }
                }
                tbody {
                    @for one in delays {
                        tr {
                            th scope="row" { (one.rule) }
                            td class="num" { (one.packets) }
                            @for time in [one.mean_ns, one.p50_ns, one.p99_ns] {
                                td class="num" {
                                    @match time {
                                        Some(ns) => (seconds(ns)),
                                        None => "–",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Everything that was expected.
pub(super) fn expectations(findings: &Findings) -> Markup {
    if findings.expectations.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="expectations" {
            h2 id="expectations" { "Expectations" }
            div class="scroll" {
                table {
                    thead {
                        tr {
                            th scope="col" { "probe" }
                            th scope="col" { "when" }
                            th scope="col" { "expected" }
                            th scope="col" { "met" }
                            th scope="col" class="num" { "looks" }
                            th scope="col" class="num" { "misses" }
                        }
                    }
                    tbody {
                        @for one in &findings.expectations {
                            tr {
                                th scope="row" { (one.probe) }
                                td { (when(one.phase, one.invariant)) }
                                td { (one.expected) }
                                td class="state" { (answer(one.status)) }
                                td class="num" { (one.looks) }
                                td class="num" { (one.failures) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was done, in order; looks that went on and on are in the timeline.
pub(super) fn happenings(events: &[Event]) -> Markup {
    let lines: Vec<(u64, String)> =
        events.iter().filter_map(|event| Some((event.at, happening(event)?))).collect();
    markup! {
        section aria-labelledby="happenings" {
            h2 id="happenings" { "What was done" }
            details {
                summary { (lines.len()) " steps" }
                div class="scroll" {
                    table {
                        thead { tr { th scope="col" class="num" { "at" } th scope="col" { "what" } } }
                        tbody {
                            @for (at, text) in &lines { tr { td class="num" { (moment(*at)) } td { (ticked(text)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn happening(event: &Event) -> Option<String> {
    Some(match &event.event {
        What::Began(_) => "the run began".into(),
        What::Ready(nodes) if nodes.is_empty() => return None,
        What::Ready(nodes) => {
            let nodes: Vec<String> = nodes
                .iter()
                .map(|(name, addresses)| format!("{name} ({})", addresses.join(", ")))
                .collect();
            format!("the lab is up: {}", nodes.join("; "))
        }
        What::Cleared(clearance) if clearance.extent.faults.is_empty() => return None,
        What::Cleared(clearance) => format!("{clearance}blast radius: {}", clearance.extent),
        What::Refused(reasons) => format!("not allowed: {}", reasons.join("; ")),
        What::Tripped { probe } => {
            format!("the safeguard `{probe}` did not hold, so everything is healed")
        }
        What::Done(result) if matches!(result.role, Role::During | Role::Safeguard) => return None,
        What::Logged(_) | What::Operations { .. } => return None,
        What::Done(result) if result.role == Role::Recovery => {
            format!("manual step {}: {}", result.name, result.seen)
        }
        What::Done(result) => format!("{}: {}", result.name, result.seen),
        What::GateClosed { probe } => format!("`{probe}` did not hold, so nothing is injected"),
        What::Deviated { probe } => format!("`{probe}` did not hold, so the method was ended"),
        What::Arming(info) => {
            format!("fault {} is about to be injected for {}", info.fault, info.lasts)
        }
        What::Active { fault } => format!("fault {fault} is active, read back"),
        What::Healing { fault } => format!("fault {fault} is about to be healed"),
        What::Healed(healed) => match &healed.error {
            Some(error) => format!("fault {} could not be healed: {error}", healed.fault),
            None => format!("fault {} is healed", healed.fault),
        },
        What::Interrupted => "the user interrupted".into(),
        What::Trouble { text, .. } => format!("trouble: {text}"),
        What::Ended(_) => "the run ended".into(),
    })
}

/// The experiment, as it was read.
pub(super) fn source(info: &RunInfo) -> Markup {
    let text = serde_json::to_string_pretty(&info.experiment).unwrap_or_default();
    markup! {
        section aria-labelledby="source" {
            h2 id="source" { "Experiment" }
            details {
                summary { "As it was written" }
                pre class="log" tabindex="0" { (text) }
            }
        }
    }
}
