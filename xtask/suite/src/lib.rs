//! Runs test programs one test at a time and reports each as a line of JSON.
//!
//! One process per test gives each its own time limit and its own blame: a test that crashes,
//! hangs or leaves something behind takes no other with it. xtask runs suites on the host with
//! this code; the guest of a test VM runs them with it as PID 1.

mod job;
mod record;
mod skip;
mod suite;

pub use job::{JOB_FILE, Job, Work};
pub use record::{Outcome, Record};
pub use skip::skipped_features;
pub use suite::{Host, Suite, SuiteError};
