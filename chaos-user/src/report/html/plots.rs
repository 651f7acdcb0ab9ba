//! How long looks and operations took, and how many were not as they should be, over time.

use maud::{Markup, html as markup};

use super::axis::{Axis, grid, n, shades};
use super::series::{LOOKS, OPERATIONS, Point, Series, Words, looks, operations};
use crate::run::{Event, RunInfo};
use crate::verdict::Timeline;

/// Coordinates of a latency plot.
const SMALL: (f64, f64) = (500.0, 170.0);
/// Bars of the error plot at most.
const BINS: u64 = 60;

/// The plots of a run; nothing when nobody looked and nothing was done.
pub(super) fn section(info: &RunInfo, events: &[Event], timeline: &Timeline, axis: Axis) -> Markup {
    let kinds = [(LOOKS, looks(info, events)), (OPERATIONS, operations(events))];
    if kinds.iter().all(|(_, all)| all.is_empty()) {
        return markup! {};
    }
    markup! {
        section aria-labelledby="plots" {
            h2 id="plots" { "Latency and errors" }
            @for (words, all) in kinds.iter().filter(|(_, all)| !all.is_empty()) {
                (errors(*words, all, timeline, axis))
                div class="plots" {
                    @for series in all { (latency(*words, series, timeline, axis)) }
                }
            }
        }
    }
}

/// Points per slice of time: those as they should be, and on top those not.
fn errors(words: Words, all: &[Series], timeline: &Timeline, axis: Axis) -> Markup {
    let axis = axis.between(44.0, 988.0);
    let (top, bottom) = (8.0, 128.0);
    let slice = (axis.took() / BINS).max(1);
    let mut bins = vec![(0_u32, 0_u32); BINS as usize + 1];
    for point in all.iter().flat_map(|series| &series.points) {
        let at = (point.ended() / slice).min(BINS) as usize;
        let bin = &mut bins[at];
        if point.good { bin.0 += 1 } else { bin.1 += 1 }
    }
    let bad: usize = all.iter().map(Series::bad).sum();
    let count: usize = all.iter().map(|series| series.points.len()).sum();
    let most = bins.iter().map(|(ok, miss)| ok + miss).max().unwrap_or(1).max(1);
    let y = |count: u32| bottom - (bottom - top) * f64::from(count) / f64::from(most);
    let width = (axis.width / BINS as f64 - 1.0).max(1.0);
    markup! {
        figure {
            figcaption {
                b { (words.title) } " per " (format!("{:.2}", slice as f64 / 1e9)) " s: "
                (bad) " of " (count) " " (words.bad) " (red)"
            }
            div class="scroll" {
                svg viewBox="0 0 1000 150" role="img"
                    aria-label={ "Bars of " (words.kind) " over time; " (bad) " of " (count)
                        " were " (words.bad) } {
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
                                title { (miss) " " (words.bad) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long each point of a series took, on a scale of powers of ten.
fn latency(words: Words, series: &Series, timeline: &Timeline, axis: Axis) -> Markup {
    let axis = axis.between(58.0, SMALL.0 - 10.0);
    let (top, bottom) = (8.0, SMALL.1 - 22.0);
    let decade = |took: u64| (took.max(1_000) as f64).log10();
    let fold = |start: f64, pick: fn(f64, f64) -> f64| {
        series.points.iter().map(|point| decade(point.took)).fold(start, pick)
    };
    let low = fold(f64::MAX, f64::min).floor();
    let high = fold(0.0, f64::max).ceil().max(low + 1.0);
    let y = |took: u64| bottom - (bottom - top) * ((decade(took) - low) / (high - low));
    let points = series.thinned(axis);
    let place = |point: &Point| format!("{},{}", n(axis.x(point.ended())), n(y(point.took)));
    let lines = series.joined.map(|most| lines(&points, most, place)).unwrap_or_default();
    let slowest = series.points.iter().map(|point| point.took).max().unwrap_or(0);
    markup! {
        figure {
            figcaption {
                b { (series.name) } ": " (series.points.len()) " " (words.kind) ", slowest " (duration(slowest))
                @if series.bad() > 0 { ", " (series.bad()) " " (words.bad) " (×)" }
            }
            svg viewBox={ "0 0 " (n(SMALL.0)) " " (n(SMALL.1)) } role="img"
                aria-label={ "Latency of " (series.name) " over time" } {
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
                @for point in &points {
                    @let (x, y) = (axis.x(point.ended()), y(point.took));
                    @if point.good {
                        circle class="dot" cx=(n(x)) cy=(n(y)) r="2.2" {}
                    } @else {
                        path class="cross" d={ "M" (n(x - 3.5)) " " (n(y - 3.5)) "l7 7m0-7l-7 7" } {
                            title { (point.seen) }
                        }
                    }
                }
            }
        }
    }
}

/// Points in a row, joined; a longer pause breaks the line.
fn lines(points: &[&Point], most: u64, place: impl Fn(&Point) -> String) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut last = None;
    for point in points {
        let pause = last.map(|last| point.began.saturating_sub(last));
        match lines.last_mut() {
            Some(line) if pause.is_some_and(|pause| pause <= most) => {
                line.push(' ');
                line.push_str(&place(point));
            }
            _ => lines.push(place(point)),
        }
        last = Some(point.ended());
    }
    lines
}

/// A duration in the unit that suits it.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{:.3} ms", ns as f64 / 1e6).replace(".000", ""),
        _ => format!("{:.3} s", ns as f64 / 1e9).replace(".000", ""),
    }
}
