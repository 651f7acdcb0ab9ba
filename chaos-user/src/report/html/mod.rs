//! The report as a page: one file that needs nothing else, neither script nor network.

mod axis;
mod failures;
mod plots;
mod sections;
mod series;
mod timeline;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use self::axis::Axis;
use super::terminal::seconds;
use crate::run::{Event, What};
use crate::verdict::{Findings, Status, Timeline, Verdict};

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded or run, whatever the log holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";

/// What a run showed, as a page. `None` when the events do not begin as a run does.
pub fn html(events: &[Event], findings: &Findings) -> Option<String> {
    let What::Began(info) = &events.first()?.event else { return None };
    let timeline = Timeline::of(events);
    let axis = Axis::of(findings.took);
    let Findings { name, title, verdict, because, .. } = findings;
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (verdict) " " (name) ": " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        span class={ "badge " (verdict_class(*verdict)) } { (verdict) }
                        h1 { (title) }
                        p class="lead" { (ticked(because)) }
                        ul class="facts" {
                            li { "experiment " code { (name) } }
                            li { "began " (findings.began) }
                            li { "took " (seconds(findings.took)) }
                            li { "seed " (findings.seed) }
                            li { "on " (findings.host) " (" (info.platform) ")" }
                            li { "chaos " (findings.tool) }
                        }
                    }
                    (sections::judgements(findings))
                    (failures::failures(findings))
                    (sections::metrics(findings))
                    (timeline::section(info, events, &timeline, axis))
                    (plots::section(info, events, &timeline, axis))
                    (sections::evidence(findings))
                    (sections::expectations(findings))
                    (sections::happenings(events))
                    (sections::source(info))
                    footer {
                        p {
                            "Computed from the event log alone: "
                            code { "chaos report FOLDER --format html" }
                            " gives this page again, byte for byte. The random decisions repeat with "
                            code { "chaos run " (name) " --seed " (findings.seed) }
                            "."
                        }
                    }
                }
            }
        }
    };
    Some(page.into_string() + "\n")
}

const fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "unsure",
        Verdict::Aborted | Verdict::Error => "error",
    }
}

/// A text in which `words` between backticks stand for names.
fn ticked(text: &str) -> Markup {
    let paired = text.matches('`').count().is_multiple_of(2);
    markup! {
        @if paired {
            @for (at, part) in text.split('`').enumerate() {
                @if at % 2 == 1 { code { (part) } } @else { (part) }
            }
        } @else {
            (text)
        }
    }
}

/// An answer, told by a sign and a word besides its colour.
fn answer(status: Status) -> Markup {
    let (class, sign) = match status {
        Status::Holds => ("yes", "✓"),
        Status::Broken => ("no", "✗"),
        Status::Unproven => ("open", "?"),
        Status::NotAsked => ("off", "–"),
    };
    let word = match status {
        Status::Broken => "no",
        Status::NotAsked => "not asked",
        other => other.word(),
    };
    markup! { span class=(class) { (sign) " " (word) } }
}
