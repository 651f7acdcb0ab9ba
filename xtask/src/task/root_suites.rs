use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use chaos_suite::{Host, Outcome, Record, Suite};
use clap::Args;

use super::Task;

/// How long one test may take on the host.
const TEST_LIMIT: Duration = Duration::from_mins(3);

/// Run test programs with the privileges of this process (`test` starts this, through sudo)
#[derive(Debug, Args)]
pub(crate) struct RootSuites {
    /// A JSON list of suites
    #[arg(long)]
    suites: PathBuf,
    /// Where the report goes, as lines of JSON
    #[arg(long)]
    report: PathBuf,
    /// Only tests or suites whose name contains this
    #[arg(long)]
    filter: Option<String>,
}

impl Task for RootSuites {
    fn run(self, _: &Layout) -> Result<ExitCode> {
        let suites = fs::read(&self.suites)
            .with_context(|| format!("cannot read {}", self.suites.display()))?;
        let suites: Vec<Suite> = serde_json::from_slice(&suites).context("a bad list of suites")?;
        let report = File::options()
            .append(true)
            .open(&self.report)
            .with_context(|| format!("cannot write {}", self.report.display()))?;
        let mut host = Log { report, broken: None };
        let scratch = std::env::temp_dir().join(format!("chaos-suites-{}", std::process::id()));
        fs::create_dir(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        for suite in &suites {
            let filter = self.filter.as_deref();
            let ran = suite.run(filter, TEST_LIMIT, &scratch, &mut host);
            if let Err(error) = ran {
                host.report(Record::Problem { what: error.to_string() });
            }
        }
        host.report(Record::Done);
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
        host.broken
            .map_or(Ok(ExitCode::SUCCESS), |error| Err(error).context("cannot write the report"))
    }
}

struct Log {
    report: File,
    /// Why it could not be written, if so.
    broken: Option<io::Error>,
}

impl Host for Log {
    fn report(&mut self, record: Record) {
        show(&record);
        if let Err(error) = writeln!(self.report, "{}", record.to_line()) {
            self.broken.get_or_insert(error);
        }
    }
}

/// One line per test, for the log.
fn show(record: &Record) {
    if let Record::Test { suite, test, outcome, seconds } = record {
        let word = match outcome {
            Outcome::Pass => "ok",
            Outcome::Fail { .. } => "FAILED",
            Outcome::Skip { .. } => "skipped",
            Outcome::Ignored => "ignored",
        };
        println!("{suite}::{test} ... {word} ({seconds:.1} s)");
        if let Outcome::Fail { output } = outcome {
            println!("{output}");
        }
    }
}
