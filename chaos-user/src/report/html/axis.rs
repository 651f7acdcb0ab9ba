//! Time from left to right, and what is drawn along it.

use maud::{Markup, html as markup};

use crate::verdict::Timeline;

/// The width of every chart's coordinates.
pub(super) const WIDTH: f64 = 1000.0;

/// From time to a place in a chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    took: u64,
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Axis {
    /// For a run that took so many nanoseconds.
    pub(super) const fn of(took: u64) -> Self {
        Self { took: if took == 0 { 1 } else { took }, left: 0.0, width: WIDTH }
    }

    /// The same time between other borders.
    pub(super) const fn between(self, left: f64, right: f64) -> Self {
        Self { left, width: right - left, ..self }
    }

    /// Where a moment is.
    pub(super) fn x(&self, at: u64) -> f64 {
        self.left + self.width * (at.min(self.took) as f64 / self.took as f64)
    }

    pub(super) const fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) const fn took(&self) -> u64 {
        self.took
    }

    /// Round moments, about `wanted` of them, and what to call them.
    pub(super) fn ticks(&self, wanted: u64) -> Vec<(u64, String)> {
        let least = self.took / wanted.max(1);
        let mut unit = 1_000_000_u64;
        let step = loop {
            let fits = [1, 2, 5].map(|factor| unit.saturating_mul(factor));
            if let Some(step) = fits.into_iter().find(|step| *step >= least) {
                break step;
            }
            unit = unit.saturating_mul(10);
        };
        let decimals = usize::from(step < 1_000_000_000) + usize::from(step < 100_000_000);
        (0..=self.took / step)
            .map(|at| (at * step, format!("{:.decimals$} s", (at * step) as f64 / 1e9)))
            .collect()
    }
}

/// Lines and labels of round moments.
pub(super) fn grid(axis: Axis, top: f64, bottom: f64, wanted: u64) -> Markup {
    markup! {
        @for (at, label) in axis.ticks(wanted) {
            @let x = axis.x(at);
            line class="grid" x1=(n(x)) x2=(n(x)) y1=(n(top)) y2=(n(bottom)) {}
            text x=(n(x)) y=(n(bottom + 15.0)) text-anchor=(anchor(axis, x)) { (label) }
        }
    }
}

fn anchor(axis: Axis, x: f64) -> &'static str {
    if x > axis.right() - 15.0 { "end" } else { "middle" }
}

/// When faults were active, as shades from `top` to `bottom`.
pub(super) fn shades(axis: Axis, timeline: &Timeline, top: f64, bottom: f64) -> Markup {
    markup! {
        @for (_, from, to) in timeline.windows() {
            @let (x, end) = (axis.x(from), axis.x(to));
            rect class="shade" x=(n(x)) y=(n(top)) width=(n((end - x).max(1.0)))
                height=(n(bottom - top)) {}
        }
    }
}

/// A coordinate, precise enough and no longer.
pub(super) fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

/// A text that fits; whole ones belong into a `title`.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let labels = |took: u64| -> Vec<String> {
            Axis::of(took).ticks(8).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(5_200_000_000)[..3], ["0 s", "1 s", "2 s"]);
        assert_eq!(labels(700_000_000)[..3], ["0.0 s", "0.1 s", "0.2 s"]);
        assert_eq!(labels(150_000_000_000)[..3], ["0 s", "20 s", "40 s"]);
        for took in [1, 999, 10_u64.pow(9), 10_u64.pow(13), u64::MAX] {
            assert!(labels(took).len() <= 10, "{took}: {}", labels(took).len());
        }
    }
}
