//! What did not hold: which expectation, what was seen instead, and when.

use maud::{Markup, html as markup};

use crate::experiment::Phase;
use crate::report::terminal::moment;
use crate::verdict::{FailureReport, Findings};

/// Every expectation that did not hold, with the target's logs around it.
pub(super) fn failures(findings: &Findings) -> Markup {
    if findings.failures.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="failures" {
            h2 id="failures" { "What did not hold" }
            @for one in &findings.failures {
                article class="failure" {
                    h3 { (one.probe) " " (one.when()) }
                    dl {
                        dt { "expected" } dd { code { (one.expected) } }
                        dt { "observed" } dd { code { (one.seen) } }
                        dt { "at" } dd { (moment(one.at)) " (began " (one.wall) ")" }
                        dt { "looks" } dd { (one.failures) " of " (one.looks) " not as expected" }
                    }
                    @if !one.log.is_empty() { (log(one)) }
                }
            }
        }
    }
}

/// The logs, with what was written before the failure told apart from what came after.
fn log(failure: &FailureReport) -> Markup {
    markup! {
        h4 { "Logs of the target around then" }
        div class="scroll" tabindex="0" {
            table class="lines" {
                thead {
                    tr {
                        th scope="col" class="num" { "at" }
                        th scope="col" { "log" }
                        th scope="col" { "line" }
                    }
                }
                tbody {
                    @for line in &failure.log {
                        tr class=[(line.at > failure.at).then_some("later")] {
                            td class="num" { (moment(line.at)) }
                            td { (line.source) }
                            td { code { (line.text) } }
                        }
                    }
                }
            }
        }
    }
}

/// The phase of an expectation in words.
pub(super) const fn when(phase: Option<Phase>, invariant: bool) -> &'static str {
    match phase {
        Some(Phase::Before) => "before the fault",
        Some(Phase::Fault) => "under the fault",
        Some(Phase::After) => "after the fault",
        None if invariant => "at the end",
        None => "in the method",
    }
}
