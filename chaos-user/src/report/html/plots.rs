//! How long looks took, and how many were not as expected, over time.

use maud::{Markup, html as markup};

use super::axis::{Axis, grid, n, shades};
use crate::report::terminal::moment;
use crate::run::{Event, ProbeResult, Role, RunInfo, What};
use crate::verdict::Timeline;

/// Coordinates of a latency plot.
const SMALL: (f64, f64) = (500.0, 170.0);
/// Bars of the error plot at most.
const BINS: u64 = 60;

/// The plots of a run; nothing when it has no looks.
pub(super) fn section(info: &RunInfo, events: &[Event], timeline: &Timeline, axis: Axis) -> Markup {
    let looks: Vec<&ProbeResult> = events
        .iter()
        .filter_map(|event| match &event.event {
            What::Done(result) => Some(result.as_ref()),
            _ => None,
        })
        .filter(|result| matches!(result.role, Role::Before | Role::During | Role::After))
        .collect();
    if looks.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="plots" {
            h2 id="plots" { "Latency and errors" }
            (errors(&looks, timeline, axis))
            div class="plots" {
                @for spec in info.probes.iter().filter(|spec| spec.steady) {
                    @let own: Vec<&ProbeResult> =
                        looks.iter().copied().filter(|look| look.name == spec.name).collect();
                    @if !own.is_empty() { (latency(&spec.name, &own, info.frequency.nanos(), timeline, axis)) }
                }
            }
        }
    }
}

fn held(look: &ProbeResult) -> bool {
    look.met.unwrap_or(look.error.is_none())
}

const fn ended(look: &ProbeResult) -> u64 {
    look.began.saturating_add(look.took)
}

/// Looks per slice of time: those as expected, and on top those not.
fn errors(looks: &[&ProbeResult], timeline: &Timeline, axis: Axis) -> Markup {
    let axis = axis.between(44.0, 988.0);
    let (top, bottom) = (8.0, 128.0);
    let slice = (axis.took() / BINS).max(1);
    let mut bins = vec![(0_u32, 0_u32); BINS as usize + 1];
    for look in looks {
        let at = (ended(look) / slice).min(BINS) as usize;
        let bin = &mut bins[at];
        if held(look) { bin.0 += 1 } else { bin.1 += 1 }
    }
    let missed = looks.iter().filter(|look| !held(look)).count();
    let most = bins.iter().map(|(ok, miss)| ok + miss).max().unwrap_or(1).max(1);
    let y = |count: u32| bottom - (bottom - top) * f64::from(count) / f64::from(most);
    let width = (axis.width / BINS as f64 - 1.0).max(1.0);
    markup! {
        figure {
            figcaption {
                b { "Looks" } " per " (format!("{:.2}", slice as f64 / 1e9)) " s: "
                (missed) " of " (looks.len()) " not as expected (red)"
            }
            div class="scroll" {
                svg viewBox="0 0 1000 150" role="img"
                    aria-label={ "Bars of looks over time; " (missed) " of " (looks.len())
                        " were not as expected" } {
                    (shades(axis, timeline, top, bottom))
                    (grid(axis, top, bottom, 10))
                    @for count in [0, most] {
                        line class="grid" x1=(n(axis.left)) x2=(n(axis.right())) y1=(n(y(count))) y2=(n(y(count))) {}
                        text x=(n(axis.left - 6.0)) y=(n(y(count) + 4.0)) text-anchor="end" { (count) }
                    }
                    @for (at, (ok, miss)) in bins.iter().enumerate() {
                        @let x = axis.x(at as u64 * slice);
                        @if *ok > 0 {
                            rect class="quiet" x=(n(x)) width=(n(width)) y=(n(y(*ok))) height=(n(bottom - y(*ok))) {}
                        }
                        @if *miss > 0 {
                            rect class="miss" x=(n(x)) width=(n(width)) y=(n(y(ok + miss))) height=(n(y(*ok) - y(ok + miss))) {
                                title { (miss) " not as expected" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long each look of a probe took, on a scale of powers of ten.
fn latency(
    name: &str,
    looks: &[&ProbeResult],
    frequency: u64,
    timeline: &Timeline,
    axis: Axis,
) -> Markup {
    let axis = axis.between(58.0, SMALL.0 - 10.0);
    let (top, bottom) = (8.0, SMALL.1 - 22.0);
    let decade = |took: u64| (took.max(1_000) as f64).log10();
    let fold = |start: f64, pick: fn(f64, f64) -> f64| {
        looks.iter().map(|look| decade(look.took)).fold(start, pick)
    };
    let low = fold(f64::MAX, f64::min).floor();
    let high = fold(0.0, f64::max).ceil().max(low + 1.0);
    let y = |took: u64| bottom - (bottom - top) * ((decade(took) - low) / (high - low));
    let points = thinned(looks, axis);
    let lines =
        lines(&points, frequency, |look| format!("{},{}", n(axis.x(ended(look))), n(y(look.took))));
    let slowest = looks.iter().map(|look| look.took).max().unwrap_or(0);
    let missed = looks.iter().filter(|look| !held(look)).count();
    markup! {
        figure {
            figcaption {
                b { (name) } ": " (looks.len()) " looks, slowest " (duration(slowest))
                @if missed > 0 { ", " (missed) " not as expected (×)" }
            }
            svg viewBox={ "0 0 " (n(SMALL.0)) " " (n(SMALL.1)) } role="img"
                aria-label={ "Latency of " (name) " over time" } {
                (shades(axis, timeline, top, bottom))
                (grid(axis, top, bottom, 6))
                @for power in (low as i32)..=(high as i32) {
                    @let at = y(10_u64.saturating_pow(power.unsigned_abs()));
                    line class="grid" x1=(n(axis.left)) x2=(n(axis.right())) y1=(n(at)) y2=(n(at)) {}
                    text x=(n(axis.left - 6.0)) y=(n(at + 4.0)) text-anchor="end" {
                        (duration(10_u64.saturating_pow(power.unsigned_abs())))
                    }
                }
                @for line in lines { polyline class="line" points=(line) {} }
                @for look in &points {
                    @let (x, y) = (axis.x(ended(look)), y(look.took));
                    @if held(look) {
                        circle class="dot" cx=(n(x)) cy=(n(y)) r="2.2" {}
                    } @else {
                        path class="cross" d={ "M" (n(x - 3.5)) " " (n(y - 3.5)) "l7 7m0-7l-7 7" } {
                            title { (moment(look.began)) ": " (look.seen) }
                        }
                    }
                }
            }
        }
    }
}

/// Looks in a row, joined; a pause in which nobody looked breaks the line.
fn lines(
    points: &[&ProbeResult],
    frequency: u64,
    place: impl Fn(&ProbeResult) -> String,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut last = None;
    for look in points {
        let pause = last.map(|last| look.began.saturating_sub(last));
        match lines.last_mut() {
            Some(line) if pause.is_some_and(|pause| pause <= frequency.saturating_mul(4)) => {
                line.push(' ');
                line.push_str(&place(look));
            }
            _ => lines.push(place(look)),
        }
        last = Some(ended(look));
    }
    lines
}

/// Of the looks that fall on the same place, the slowest of each kind, so that a long run makes no
/// large page.
fn thinned<'a>(looks: &[&'a ProbeResult], axis: Axis) -> Vec<&'a ProbeResult> {
    let place = |look: &ProbeResult| (axis.x(ended(look)) as i64, held(look));
    let mut points: Vec<&ProbeResult> = Vec::new();
    for look in looks {
        match points.last_mut() {
            Some(last) if place(last) == place(look) => {
                if look.took > last.took {
                    *last = look;
                }
            }
            _ => points.push(look),
        }
    }
    points
}

/// A duration in the unit that suits it.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{:.3} ms", ns as f64 / 1e6).replace(".000", ""),
        _ => format!("{:.3} s", ns as f64 / 1e9).replace(".000", ""),
    }
}
