//! What runs came to, against what they should.

use serde::Serialize;

use super::record::Record;
use super::trend::mean;
use crate::verdict::{DETECT_BELOW, MANUAL_STEPS_BELOW, PASS_RATE_ABOVE, RECOVER_BELOW, Verdict};

/// What runs came to, against what they should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// A line per metric.
    pub lines: Vec<Line>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which.
    pub metric: &'static str,
    /// What was measured, in words.
    pub measured: String,
    /// What it should be.
    pub target: &'static str,
    /// Whether it is; `None` when nothing was measured.
    pub reached: Option<bool>,
}

impl Summary {
    /// Of some runs.
    pub fn of(runs: &[Record]) -> Self {
        let times = |pick: fn(&Record) -> Option<u64>| -> Vec<u64> {
            runs.iter().filter_map(pick).collect()
        };
        let time = |metric, times: &[u64], bounds: &[u64], below: u64, target| {
            let bound = bounds.iter().max().copied().unwrap_or(0);
            let measured = mean(times).map_or_else(
                || "not measured".to_owned(),
                |mean| {
                    let worst = times.iter().max().copied().unwrap_or(0);
                    let (count, all) = (times.len(), runs.len());
                    format!(
                        "mean {}, worst {}, up to {} less (in {count} of {all} runs)",
                        seconds(mean),
                        seconds(worst),
                        seconds(bound)
                    )
                },
            );
            Line { metric, measured, target, reached: mean(times).map(|mean| mean < below) }
        };
        let passed = runs.iter().filter(|run| run.verdict == Verdict::Pass).count();
        let rate = passed as f64 / runs.len().max(1) as f64;
        let steps: Vec<u32> = runs.iter().filter_map(|run| run.manual_steps).collect();
        let most = steps.iter().max().copied();
        Self {
            lines: vec![
                time(
                    "time to detect",
                    &times(|run| run.time_to_detect),
                    &times(|run| run.detect_bound),
                    DETECT_BELOW,
                    "< 1 min",
                ),
                time(
                    "time to recover",
                    &times(|run| run.time_to_recover),
                    &times(|run| run.recover_bound),
                    RECOVER_BELOW,
                    "< 5 min",
                ),
                Line {
                    metric: "pass rate",
                    measured: format!("{passed} of {} ({:.0} %)", runs.len(), rate * 100.0),
                    target: "> 90 %",
                    reached: (!runs.is_empty()).then_some(rate > PASS_RATE_ABOVE),
                },
                Line {
                    metric: "manual steps",
                    measured: most.map_or_else(
                        || "not measured".to_owned(),
                        |most| format!("{most} at most, {} in all", steps.iter().sum::<u32>()),
                    ),
                    target: "< 3",
                    reached: most.map(|most| most < MANUAL_STEPS_BELOW),
                },
            ],
        }
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::trend::tests::record;

    fn told(runs: &[Record]) -> String {
        let lines = Summary::of(runs).lines;
        let line = |one: &Line| {
            format!("{}: {} ({}) {:?}", one.metric, one.measured, one.target, one.reached)
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn targets_are_told_with_what_was_measured() {
        let mut runs: Vec<Record> = (1..=10).map(|number| record("a", number * 100)).collect();
        runs[0].verdict = Verdict::Fail;
        runs[1].manual_steps = Some(3);
        runs[2].time_to_detect = Some(1_500_000_000);
        runs[2].detect_bound = Some(300_000_000);
        insta::assert_snapshot!(told(&runs), @r"
        time to detect: mean 1.500 s, worst 1.500 s, up to 0.300 s less (in 1 of 10 runs) (< 1 min) Some(true)
        time to recover: mean 550.000 s, worst 1000.000 s, up to 0.200 s less (in 10 of 10 runs) (< 5 min) Some(false)
        pass rate: 9 of 10 (90 %) (> 90 %) Some(false)
        manual steps: 3 at most, 3 in all (< 3) Some(false)
        ");
        insta::assert_snapshot!(told(&[]), @r"
        time to detect: not measured (< 1 min) None
        time to recover: not measured (< 5 min) None
        pass rate: 0 of 0 (0 %) (> 90 %) None
        manual steps: not measured (< 3) None
        ");
    }
}
