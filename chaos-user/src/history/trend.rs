//! How an experiment fared over its last runs.

use serde::Serialize;

use super::record::Record;
use crate::verdict::Verdict;

/// Where a time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It got shorter.
    Falling,
    /// It got longer.
    Rising,
    /// The difference is less than what the pauses between looks explain.
    Steady,
}

/// How one experiment fared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// Its name.
    pub name: String,
    /// How many runs this is about.
    pub runs: usize,
    /// The verdicts, the oldest first.
    pub verdicts: Vec<Verdict>,
    /// The share of runs that passed.
    pub pass_rate: f64,
    /// The mean time to detect, in nanoseconds.
    pub time_to_detect: Option<u64>,
    /// How much less it may have been in a run, at most.
    pub detect_bound: u64,
    /// Where it goes.
    pub detect_change: Option<Change>,
    /// The mean time to recover, in nanoseconds.
    pub time_to_recover: Option<u64>,
    /// How much less it may have been in a run, at most.
    pub recover_bound: u64,
    /// Where it goes.
    pub recover_change: Option<Change>,
    /// The most manual steps of a run.
    pub manual_steps: Option<u32>,
    /// When the last run began.
    pub last: String,
}

impl Trend {
    /// Of each experiment, by name, over its last so many runs.
    pub fn of(records: &[Record], last: usize) -> Vec<Self> {
        let mut names: Vec<&str> = records.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let one = |name: &str| {
            let all: Vec<&Record> = records.iter().filter(|one| one.name == name).collect();
            Self::one(name, &all[all.len().saturating_sub(last)..])
        };
        names.into_iter().map(one).collect()
    }

    fn one(name: &str, runs: &[&Record]) -> Self {
        let passed = runs.iter().filter(|run| run.verdict == Verdict::Pass).count();
        let most = |pick: fn(&Record) -> Option<u64>| {
            runs.iter().filter_map(|run| pick(run)).max().unwrap_or(0)
        };
        let (detect_bound, recover_bound) =
            (most(|run| run.detect_bound), most(|run| run.recover_bound));
        let times = |pick: fn(&Record) -> Option<u64>| -> Vec<u64> {
            runs.iter().filter_map(|run| pick(run)).collect()
        };
        let (detect, recover) = (times(|run| run.time_to_detect), times(|run| run.time_to_recover));
        Self {
            name: name.to_owned(),
            runs: runs.len(),
            verdicts: runs.iter().map(|run| run.verdict).collect(),
            pass_rate: if runs.is_empty() { 0.0 } else { passed as f64 / runs.len() as f64 },
            time_to_detect: mean(&detect),
            detect_bound,
            detect_change: change(&detect, detect_bound),
            time_to_recover: mean(&recover),
            recover_bound,
            recover_change: change(&recover, recover_bound),
            manual_steps: runs.iter().filter_map(|run| run.manual_steps).max(),
            last: runs.last().map_or_else(String::new, |run| run.began.clone()),
        }
    }
}

/// The mean; `None` of nothing.
pub(super) fn mean(times: &[u64]) -> Option<u64> {
    let sum: u128 = times.iter().map(|time| u128::from(*time)).sum();
    let mean = sum.checked_div(times.len() as u128)?;
    u64::try_from(mean).ok()
}

/// The newer half against the older one. `None` of fewer than two.
fn change(times: &[u64], bound: u64) -> Option<Change> {
    let (older, newer) = times.split_at(times.len() / 2);
    let (older, newer) = (mean(older)?, mean(newer)?);
    Some(match newer.abs_diff(older) {
        difference if difference <= bound => Change::Steady,
        _ if newer < older => Change::Falling,
        _ => Change::Rising,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::history) fn record(name: &str, number: u64) -> Record {
        Record {
            format: 1,
            began: format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60),
            name: name.into(),
            verdict: Verdict::Pass,
            because: String::new(),
            time_to_detect: None,
            detect_bound: None,
            time_to_recover: Some(number * 1_000_000_000),
            recover_bound: Some(200_000_000),
            manual_steps: Some(0),
            took: 1,
            seed: number,
            folder: "f".into(),
        }
    }

    #[test]
    fn the_last_runs_of_each_count() {
        let mut records: Vec<Record> = (1..=6).map(|number| record("b", number)).collect();
        records[5].verdict = Verdict::Fail;
        records.push(record("a", 1));
        let trends = Trend::of(&records, 4);
        let [a, b] = trends.as_slice() else { panic!("{trends:?}") };
        assert_eq!((a.name.as_str(), a.runs, a.recover_change), ("a", 1, None));
        assert_eq!((b.runs, b.pass_rate), (4, 0.75));
        assert_eq!(b.time_to_recover, Some(4_500_000_000));
        assert_eq!(b.recover_change, Some(Change::Rising));
        assert_eq!((b.time_to_detect, b.detect_change), (None, None));
    }

    #[test]
    fn what_the_pause_between_looks_explains_is_no_change() {
        assert_eq!(change(&[100, 120], 20), Some(Change::Steady));
        assert_eq!(change(&[100, 121], 20), Some(Change::Rising));
        assert_eq!(change(&[100, 79], 20), Some(Change::Falling));
        assert_eq!(mean(&[u64::MAX, u64::MAX]), Some(u64::MAX));
    }
}
