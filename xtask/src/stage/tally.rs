//! What a stage found.

use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::Duration;

/// How many tests ended how. A stage without tests of its own, such as clippy, counts as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Passed.
    pub(crate) passed: usize,
    /// Failed, crashed, or did not come to be run.
    pub(crate) failed: usize,
    /// Ignored, or skipped for a feature that this machine is known to lack.
    pub(crate) skipped: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What a stage found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// The stage.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// The counts.
    pub(crate) tally: Tally,
    /// What failed, one line each.
    pub(crate) failures: Vec<String>,
    /// Where to read on.
    pub(crate) log: Option<PathBuf>,
}

impl Report {
    /// A stage that is a single check.
    pub(crate) fn check(name: &str, elapsed: Duration, failures: Vec<String>) -> Self {
        let failed = usize::from(!failures.is_empty());
        let tally = Tally { passed: 1 - failed, failed, skipped: 0 };
        Self { name: name.into(), elapsed, tally, failures, log: None }
    }

    /// A stage that could not be carried out.
    pub(crate) fn broken(name: &str, elapsed: Duration, error: &anyhow::Error) -> Self {
        Self::check(name, elapsed, vec![format!("{error:#}")])
    }

    /// Whether nothing failed.
    pub(crate) fn ok(&self) -> bool {
        self.tally.failed == 0
    }
}
