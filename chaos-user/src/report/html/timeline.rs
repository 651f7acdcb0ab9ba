//! What happened when: a row per fault and per probe, with the fault windows shaded.

use maud::{Markup, html as markup};

use super::axis::{Axis, WIDTH, grid, n, shades, short};
use super::ticked;
use crate::experiment::Phases;
use crate::report::terminal::moment;
use crate::run::{Event, ProbeResult, Role, RunInfo, What};
use crate::verdict::Timeline;

const LABELS: f64 = 230.0;
const ROW: f64 = 20.0;
const TOP: f64 = 6.0;
/// Marks are at least this wide, so that short looks can be seen.
const LEAST: f64 = 2.0;

/// What a look means for its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Miss,
    Unjudged,
}

impl Mark {
    const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Miss => "miss",
            Self::Unjudged => "unjudged",
        }
    }

    /// Told apart by height, too.
    const fn height(self) -> f64 {
        match self {
            Self::Ok => 6.0,
            Self::Miss => 14.0,
            Self::Unjudged => 3.0,
        }
    }
}

/// The timeline of a run.
pub(super) fn section(info: &RunInfo, events: &[Event], timeline: &Timeline, axis: Axis) -> Markup {
    let axis = axis.between(LABELS, WIDTH - 12.0);
    let windows: Vec<(&str, u64, u64)> = timeline.windows().collect();
    let names = rows(info, events);
    let bottom = TOP + ROW * (windows.len() + names.len()) as f64 + 4.0;
    markup! {
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            figure {
                figcaption {
                    "Faults and looks from the beginning of the run. Shaded: a fault is active."
                }
                div class="scroll" {
                    svg viewBox={ "0 0 " (n(WIDTH)) " " (n(bottom + 22.0)) } role="img"
                        aria-label={ "Timeline of " (windows.len()) " faults and " (names.len())
                            " probes; the tables below say the same in words" } {
                        (shades(axis, timeline, TOP, bottom))
                        (grid(axis, TOP, bottom, 10))
                        @for (at, (name, from, to)) in windows.iter().enumerate() {
                            @let y = TOP + ROW * at as f64;
                            (label(name, y, "fault "))
                            @let (x, end) = (axis.x(*from), axis.x(*to));
                            rect class="bar" x=(n(x)) y=(n(y + 4.0)) rx="2"
                                width=(n((end - x).max(LEAST))) height="12" {
                                title { "fault " (name) ": active from " (moment(*from)) " to " (moment(*to)) }
                            }
                        }
                        @for (at, name) in names.iter().enumerate() {
                            @let y = TOP + ROW * (windows.len() + at) as f64;
                            (label(name, y, ""))
                            (marks(name, y + ROW / 2.0, info, events, timeline, axis))
                        }
                    }
                }
                ul class="key" {
                    @for (mark, words) in [
                        (Mark::Ok, "as expected"),
                        (Mark::Miss, "not as expected (it may be early: see `within` and recovery)"),
                        (Mark::Unjudged, "overlaps with a change, not judged"),
                    ] {
                        li {
                            svg viewBox="0 0 16 16" aria-hidden="true" {
                                rect class=(mark.class()) x="2" width="12"
                                    y=(n(8.0 - mark.height() / 2.0)) height=(n(mark.height())) {}
                            }
                            (ticked(words))
                        }
                    }
                }
            }
        }
    }
}

/// The probes and actions that were run, in the order of the experiment.
fn rows<'a>(info: &'a RunInfo, events: &'a [Event]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let ran = || {
        events.iter().filter_map(|event| match &event.event {
            What::Done(result) => Some(result.name.as_str()),
            _ => None,
        })
    };
    for name in info.probes.iter().map(|spec| spec.name.as_str()).chain(ran()) {
        if !names.contains(&name) && ran().any(|other| other == name) {
            names.push(name);
        }
    }
    names
}

fn label(name: &str, y: f64, before: &str) -> Markup {
    markup! {
        text class="name" x=(n(LABELS - 10.0)) y=(n(y + ROW / 2.0 + 4.0)) text-anchor="end" {
            title { (before) (name) }
            (short(&format!("{before}{name}"), 34))
        }
    }
}

fn marks(
    name: &str,
    middle: f64,
    info: &RunInfo,
    events: &[Event],
    timeline: &Timeline,
    axis: Axis,
) -> Markup {
    let mut drawn: Vec<Drawn> = Vec::new();
    let spec = info.probes.iter().find(|spec| spec.name == name);
    let during = spec.map_or(Phases::NONE, |spec| spec.during);
    for event in events {
        let What::Done(result) = &event.event else { continue };
        if result.name == name {
            Drawn::add(&mut drawn, result, during, timeline, axis);
        }
    }
    markup! {
        @for one in &drawn {
            @let height = one.mark.height();
            rect class=(one.mark.class()) x=(n(one.from)) y=(n(middle - height / 2.0))
                width=(n(one.to - one.from)) height=(n(height)) {
                title { (one.says) @if one.more > 0 { " (and " (one.more) " more)" } }
            }
        }
    }
}

/// Looks that fall on the same place are one mark, so a long run makes no large page.
struct Drawn {
    mark: Mark,
    from: f64,
    to: f64,
    says: String,
    more: usize,
}

impl Drawn {
    fn add(
        drawn: &mut Vec<Self>,
        result: &ProbeResult,
        during: Phases,
        timeline: &Timeline,
        axis: Axis,
    ) {
        let ended = result.began.saturating_add(result.took);
        let held = result.met.unwrap_or(result.error.is_none());
        let steady = matches!(result.role, Role::Before | Role::During | Role::After);
        let missed = || {
            let crossing = timeline.crossing(result.began, ended);
            !held && crossing.is_some_and(|crossing| during.hold(crossing.phases))
        };
        let mark = if steady && timeline.phase(result.began, ended).is_none() && !missed() {
            Mark::Unjudged
        } else if held {
            Mark::Ok
        } else {
            Mark::Miss
        };
        let from = axis.x(result.began);
        let to = axis.x(ended).max(from + LEAST);
        match drawn.last_mut() {
            Some(last) if last.mark == mark && from < last.to - LEAST / 2.0 => {
                last.to = last.to.max(to);
                last.more += 1;
            }
            _ => {
                let says = format!("{}: {}", moment(result.began), result.seen);
                drawn.push(Self { mark, from, to, says, more: 0 });
            }
        }
    }
}
