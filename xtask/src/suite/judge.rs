//! What a suite's report is worth.

use std::collections::HashSet;

use chaos_suite::{Outcome, Record};

use super::Presence;
use crate::stage::Tally;

/// Counts the records and names what failed. A skip counts as one only if the features it names
/// are absent; otherwise it is a failure.
pub(crate) fn judge(
    records: &[Record],
    presence: impl Fn(&str) -> Presence,
) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let mut open: HashSet<(&str, &str)> = HashSet::new();
    let mut done = false;
    for record in records {
        match record {
            Record::Start { suite, test } => {
                open.insert((suite, test));
            }
            Record::Test { suite, test, outcome, .. } => {
                open.remove(&(suite.as_str(), test.as_str()));
                match verdict(outcome, &presence) {
                    Ok(()) if *outcome == Outcome::Pass => tally.passed += 1,
                    Ok(()) => tally.skipped += 1,
                    Err(why) => {
                        tally.failed += 1;
                        failures.push(format!("{suite}::{test}: {why}"));
                    }
                }
            }
            Record::Problem { what } => {
                tally.failed += 1;
                failures.push(what.clone());
            }
            Record::Exit { .. } => {}
            Record::Done => done = true,
        }
    }
    let mut unfinished: Vec<_> = open.into_iter().collect();
    unfinished.sort_unstable();
    for (suite, test) in unfinished {
        tally.failed += 1;
        failures.push(format!("{suite}::{test}: started and never ended"));
    }
    if !done {
        tally.failed += 1;
        failures.push("the report has no end: not all tests were run".into());
    }
    (tally, failures)
}

fn verdict(outcome: &Outcome, presence: impl Fn(&str) -> Presence) -> Result<(), String> {
    match outcome {
        Outcome::Pass | Outcome::Ignored => Ok(()),
        Outcome::Fail { output } => Err(output.clone()),
        Outcome::Skip { features } => {
            for feature in features {
                match presence(feature) {
                    Presence::Absent => {}
                    Presence::Present => {
                        return Err(format!("skipped for `{feature}`, which this kernel has"));
                    }
                    Presence::Unknown => {
                        return Err(format!(
                            "skipped for `{feature}`, which is not known to be missing here \
                             (see xtask/features.toml)"
                        ));
                    }
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(test: &str, outcome: Outcome) -> Record {
        Record::Test { suite: "s".into(), test: test.into(), outcome, seconds: 1.0 }
    }

    fn skip(feature: &str) -> Outcome {
        Outcome::Skip { features: vec![feature.into()] }
    }

    fn presence(feature: &str) -> Presence {
        match feature {
            "netem" => Presence::Absent,
            "tun" => Presence::Present,
            _ => Presence::Unknown,
        }
    }

    #[test]
    fn outcomes_are_counted() {
        let records = [
            ended("a", Outcome::Pass),
            ended("b", Outcome::Ignored),
            ended("c", skip("netem")),
            ended("d", Outcome::Fail { output: "exit code 101".into() }),
            Record::Done,
        ];
        let (tally, failures) = judge(&records, presence);
        assert_eq!(tally, Tally { passed: 1, failed: 1, skipped: 2 });
        assert_eq!(failures, ["s::d: exit code 101"]);
    }

    #[test]
    fn a_skip_that_nobody_expected_fails() {
        for feature in ["tun", "moonlight"] {
            let (tally, failures) = judge(&[ended("a", skip(feature)), Record::Done], presence);
            assert_eq!(tally.failed, 1);
            assert!(failures[0].contains(feature), "{failures:?}");
        }
    }

    #[test]
    fn a_report_without_its_end_fails() {
        let started = Record::Start { suite: "s".into(), test: "a".into() };
        let (tally, failures) = judge(&[started], presence);
        assert_eq!(tally.failed, 2);
        assert_eq!(failures[0], "s::a: started and never ended");
        assert_eq!(judge(&[], presence).0.failed, 1);
        assert_eq!(judge(&[Record::Done], presence).0.failed, 0);
    }
}
