use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use super::build::build_release;
use crate::privilege::Privilege;

/// Run all experiments again and again: every one has to pass every time
///
/// Stops at the first round that does not pass, so that what it left can be looked at.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// How many rounds
    #[arg(long, default_value_t = 20)]
    times: u32,
    /// Experiments (names or files) [default: all]
    experiments: Vec<String>,
}

impl Task for Soak {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let chaos = build_release(layout)?;
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        let results = layout.target().join("xtask/soak");
        let began = Instant::now();
        for round in 1..=self.times {
            let mut command = privilege.command(&chaos)?;
            command.current_dir(layout.root()).args(["run", "--quiet", "--output"]).arg(&results);
            if self.experiments.is_empty() {
                command.arg("all");
            } else {
                command.args(&self.experiments);
            }
            let started = Instant::now();
            let status = command.status().context("cannot start chaos")?;
            println!("round {round} of {}: {status} after {}", self.times, seconds(started));
            if !status.success() {
                println!("FAILED in round {round}; results in {}", results.display());
                return Ok(ExitCode::FAILURE);
            }
        }
        println!("{} rounds passed in {}", self.times, seconds(began));
        Ok(ExitCode::SUCCESS)
    }
}

fn seconds(since: Instant) -> String {
    let whole = since.elapsed().as_millis();
    format!("{:.1} s", Duration::from_millis(whole as u64).as_secs_f64())
}
