//! `chaos report`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::UsageError;
use super::output::out;
use crate::report::{html, journal, json, junit, markdown, terminal};
use crate::run::{RunFolder, read_log};
use crate::verdict::judge;

/// Judge a recorded run again, and print a report
///
/// Verdict and reports are computed from the event log alone: the same log gives the same bytes,
/// and the same exit code as the run had.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The event log, or the folder of the run
    log: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value = "terminal")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Text for people
    Terminal,
    /// Everything that was found, as JSON
    Json,
    /// The journal of the Chaos Toolkit
    Journal,
    /// XML for CI
    Junit,
    /// Text for an issue or a pull request
    Markdown,
    /// A page that needs nothing else
    Html,
}

impl ReportArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = if self.log.is_dir() { self.log.join(RunFolder::LOG) } else { self.log };
        let events = read_log(&path).map_err(|error| UsageError(error.to_string()))?;
        let findings = judge(&events).context("the log does not begin as a run does")?;
        let text = match self.format {
            Format::Terminal => terminal(&findings),
            Format::Json => json(&findings)?,
            Format::Markdown => markdown(&findings),
            Format::Junit => junit(std::slice::from_ref(&findings))?,
            Format::Html => {
                html(&events, &findings).context("the log does not begin as a run does")?
            }
            Format::Journal => serde_json::to_string_pretty(&journal(&events, &findings))? + "\n",
        };
        out(&text);
        Ok(findings.exit.into())
    }
}
