//! Runs the test programs.

use std::path::Path;
use std::time::Duration;

use chaos_suite::{Host, Outcome, Record, Suite};
use nix::unistd::Pid;

use crate::leaks::Baseline;
use crate::port::ReportPort;
use crate::reaper::reap;

/// Runs the suites, looking after each test at what it left behind.
pub(crate) fn run(suites: &[Suite], filter: Option<&str>, limit: u64, report: &mut ReportPort) {
    let mut guest = Guest { report, baseline: Baseline::take() };
    let limit = Duration::from_secs(limit);
    for suite in suites {
        if let Err(error) = suite.run(filter, limit, Path::new("/tmp"), &mut guest) {
            guest.report(Record::Problem { what: error.to_string() });
        }
    }
}

struct Guest<'port> {
    report: &'port mut ReportPort,
    baseline: Baseline,
}

impl Host for Guest<'_> {
    fn report(&mut self, record: Record) {
        show(&record);
        self.report.send(&record);
    }

    /// Orphans end, too: the kernel ends no PID namespace before all its processes are collected.
    fn meanwhile(&mut self, test: u32) {
        reap(Some(Pid::from_raw(test.cast_signed())));
    }

    fn left_behind(&mut self) -> Vec<String> {
        let left = self.baseline.leaks();
        if !left.is_empty() {
            // Whoever left it fails for it, and not everybody after that.
            self.baseline = Baseline::take();
        }
        left
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
