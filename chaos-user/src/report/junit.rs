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
