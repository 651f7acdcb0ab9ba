//! The report for any CI: failure means the system, error the tool, skipped inconclusive.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::verdict::{Findings, Status, Verdict};

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
                Status::Broken => failure(NonSuccessKind::Failure, &why),
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
