//! The report for any CI: failure means the system, error the tool, skipped inconclusive.

use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::terminal::moment;
use crate::verdict::{Findings, Question, Status, Verdict};

/// The XML could not be made.
#[derive(Debug, thiserror::Error)]
#[error("write the JUnit report: {0}")]
pub struct JunitError(#[from] quick_junit::SerializeError);

/// Runs as JUnit XML: a suite per run, a case per judgement.
pub fn junit(runs: &[Findings]) -> Result<String, JunitError> {
    let mut report = Report::new("chaos");
    for findings in runs {
        let mut suite = TestSuite::new(&findings.name);
        suite.set_time(Duration::from_nanos(findings.took));
        let verdict = findings.verdict;
        let mut whole = TestCase::new("verdict", status(verdict, &findings.because));
        whole.set_classname(&findings.name).set_time(Duration::from_nanos(findings.took));
        suite.add_test_case(whole);
        for judgement in &findings.judgements {
            let why = judgement.reasons.join("; ");
            let status = match judgement.status {
                Status::Holds => TestCaseStatus::success(),
                // What could not be put back is not the system's doing.
                Status::Broken if judgement.question == Question::HostClean => {
                    failure(NonSuccessKind::Error, &why)
                }
                // Only a verdict of FAIL holds anything against the system.
                Status::Broken if verdict != Verdict::Fail => {
                    skipped(&format!("not judged, because the verdict is {verdict}: {why}"))
                }
                Status::Broken => {
                    let mut status = failure(NonSuccessKind::Failure, &why);
                    let details = details(findings, judgement.question);
                    if !details.is_empty() {
                        status.set_description(details);
                    }
                    status
                }
                Status::Unproven | Status::NotAsked => skipped(&why),
            };
            let mut case = TestCase::new(judgement.question.words(), status);
            case.set_classname(&findings.name);
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

/// What the failures behind an answer were, with the target's logs around them.
fn details(findings: &Findings, question: Question) -> String {
    let mut text = String::new();
    for one in findings.failures.iter().filter(|one| one.question == question) {
        let (probe, when, at) = (&one.probe, one.when(), moment(one.at));
        let (expected, seen) = (&one.expected, &one.seen);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{probe} {when} at {at}: expected {expected}, got {seen}");
        for line in &one.log {
            let _ = writeln!(text, "  {} {} | {}", moment(line.at), line.source, line.text);
        }
    }
    text
}

fn status(verdict: Verdict, because: &str) -> TestCaseStatus {
    match verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => failure(NonSuccessKind::Failure, because),
        Verdict::Inconclusive => skipped(because),
        Verdict::Aborted | Verdict::Error => failure(NonSuccessKind::Error, because),
    }
}

fn failure(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why);
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample::{Story, run};
    use crate::verdict::judge;

    /// The report of a run that went like this, with its events changed.
    fn suite(story: Story, change: impl Fn(&mut Vec<Value>)) -> (Verdict, String) {
        let (events, _) = run(story);
        let mut events: Vec<Value> =
            events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
        change(&mut events);
        let events: Vec<_> = serde_json::from_value(Value::Array(events)).unwrap();
        let findings = judge(&events).unwrap();
        (findings.verdict, junit(std::slice::from_ref(&findings)).unwrap())
    }

    /// How many cases of a report are failures, errors and skipped.
    fn counts(xml: &str) -> (usize, usize, usize) {
        let count = |tag: &str| xml.matches(&format!("<{tag} ")).count();
        (count("failure"), count("error"), count("skipped"))
    }

    fn of<'a>(events: &'a mut [Value], key: &str) -> &'a mut Value {
        events.iter_mut().find_map(|event| event["event"].get_mut(key)).unwrap()
    }

    #[test]
    fn failures_are_the_systems_errors_the_tools_and_skips_are_inconclusive() {
        let as_it_is = |_: &mut Vec<Value>| {};
        let (verdict, xml) = suite(Story::Passed, as_it_is);
        assert_eq!((verdict, counts(&xml)), (Verdict::Pass, (0, 0, 0)), "{xml}");
        let (verdict, xml) = suite(Story::Failed, as_it_is);
        assert_eq!((verdict, counts(&xml)), (Verdict::Fail, (2, 0, 0)), "{xml}");
        let (verdict, xml) = suite(Story::Inconclusive, as_it_is);
        assert_eq!((verdict, counts(&xml)), (Verdict::Inconclusive, (0, 0, 2)), "{xml}");
        // The system did not do what was expected, and yet the run shows nothing.
        let (verdict, xml) = suite(Story::Failed, |events| {
            of(events, "healed")["evidence"][0]["acted"] = json!(0);
        });
        assert_eq!((verdict, counts(&xml)), (Verdict::Inconclusive, (0, 0, 3)), "{xml}");
        assert!(xml.contains("not judged, because the verdict is INCONCLUSIVE: `server-answers`"));
        let (verdict, xml) = suite(Story::Failed, |events| {
            let at = events.len() - 1;
            let (ns, wall) = (events[at]["at"].clone(), events[at]["wall"].clone());
            events.insert(at, json!({"at": ns, "wall": wall, "event": "interrupted"}));
        });
        assert_eq!((verdict, counts(&xml)), (Verdict::Aborted, (0, 1, 1)), "{xml}");
        let (verdict, xml) = suite(Story::Failed, |events| {
            of(events, "ended")["left"] = json!(["a qdisc on eth0"]);
        });
        assert_eq!((verdict, counts(&xml)), (Verdict::Error, (0, 2, 1)), "{xml}");
        assert!(xml.contains("a qdisc on eth0"), "{xml}");
    }
}
