//! `chaos heal`.

use crate::exit::Exit;
use crate::fault::{HealReport, Live, heal_runs};
use crate::host::check_capabilities;

/// End every fault on this host and put back what is left of crashed runs
///
/// Live runs are asked to heal themselves. It is safe to run at any time, and again.
#[derive(Debug, clap::Args)]
pub(super) struct HealArgs {
    /// Only these runs (`chaos status` lists them)
    run: Vec<String>,
    /// Leave live runs alone; only clean up after dead ones
    #[arg(long)]
    leave_live: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl HealArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        check_capabilities()?;
        let report = heal_runs(&self.run, if self.leave_live { Live::Leave } else { Live::Ask })?;
        show(&report, self.json)
    }
}

/// End every run on this host at once, whoever started it
///
/// Runs are asked to abort, which heals and exits 3; one that does not is killed, and what it leaves
/// is put back. Then dead runs are cleaned up, as `chaos heal` does.
#[derive(Debug, clap::Args)]
pub(super) struct HaltArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl HaltArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        check_capabilities()?;
        show(&heal_runs(&[], Live::Force)?, self.json)
    }
}

fn show(report: &HealReport, json: bool) -> anyhow::Result<Exit> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        for run in &report.ended {
            println!("ended the live run {run}");
        }
        for (run, undone) in &report.recovered {
            let what = if undone.is_empty() {
                "nothing was left of it".to_owned()
            } else {
                format!("took away {}", undone.join(", "))
            };
            println!("cleaned up after the dead run {run}: {what}");
        }
        for left in &report.left {
            println!("could not put back: {left}");
        }
        if report.ended.is_empty() && report.recovered.is_empty() && report.left.is_empty() {
            println!("nothing to heal");
        }
    }
    Ok(if report.left.is_empty() { Exit::Pass } else { Exit::NotHealed })
}
