//! Runs the test programs.

use std::path::Path;
use std::time::Duration;

use chaos_suite::{Outcome, Record, Suite};

use crate::leaks::Baseline;
use crate::port::ReportPort;

/// Runs the suites, looking after each test at what it left behind.
pub(crate) fn run(suites: &[Suite], filter: Option<&str>, limit: u64, report: &mut ReportPort) {
    let mut baseline = Baseline::take();
    let limit = Duration::from_secs(limit);
    for suite in suites {
        let mut send = |record: Record| {
            show(&record);
            report.send(&record);
        };
        let mut after = || {
            let left = baseline.leaks();
            if !left.is_empty() {
                // Whoever left it fails for it, and not everybody after that.
                baseline = Baseline::take();
            }
            left
        };
        if let Err(error) = suite.run(filter, limit, Path::new("/tmp"), &mut send, &mut after) {
            report.send(&Record::Problem { what: error.to_string() });
        }
    }
}

/// The console shows how far the tests are, and whole failures.
fn show(record: &Record) {
    match record {
        Record::Start { suite, test } => println!("guest: {suite}::{test}"),
        Record::Test { outcome: Outcome::Fail { output }, seconds, .. } => {
            println!("guest: FAILED after {seconds:.1} s: {output}");
        }
        Record::Test { outcome, seconds, .. } => println!("guest: {outcome:?} ({seconds:.1} s)"),
        other => println!("guest: {other:?}"),
    }
}
