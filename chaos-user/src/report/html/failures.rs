//! What did not hold: which expectation, what was seen instead, and when.

use maud::{Markup, html as markup};

use super::timeline::moment;
use crate::experiment::Phase;
use crate::verdict::{Findings, Status};

/// Every expectation that did not hold.
pub(super) fn failures(findings: &Findings) -> Markup {
    let broken: Vec<_> =
        findings.expectations.iter().filter(|one| one.status == Status::Broken).collect();
    if broken.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="failures" {
            h2 id="failures" { "What did not hold" }
            @for one in broken {
                article class="failure" {
                    h3 { (one.probe) " " (when(one.phase, one.invariant)) }
                    @if let Some(first) = &one.first {
                        dl {
                            dt { "expected" } dd { code { (one.expected) } }
                            dt { "observed" } dd { code { (first.seen) } }
                            dt { "first at" } dd { (moment(first.at)) " (began " (first.wall) ")" }
                            dt { "looks" } dd { (one.failures) " of " (one.looks) " not as expected" }
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
