use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use super::build::build_object;
use crate::command::{cargo, shown};
use crate::privilege::Privilege;
use crate::progress::run_logged;
use crate::setup::ensure_all;
use crate::suite::executables;

/// Build and run the benchmarks of chaos-user, with the privileges they need
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Go to each benchmark program as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Task for Bench {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        build_object(layout, &ensure_all(layout)?)?;
        let mut build = cargo(layout, "bench");
        build
            .args(["-p", "chaos-user", "--benches", "--no-run", "--locked"])
            .arg("--message-format=json-render-diagnostics");
        let finished = run_logged(layout, "build the benchmarks", &mut build)?.success()?;
        let messages = fs::read_to_string(&finished.out).with_context(|| {
            format!("cannot read cargo's messages in {}", finished.out.display())
        })?;
        let programs = executables(&messages, "bench");
        if programs.is_empty() {
            bail!("chaos-user has no benchmarks");
        }
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        for program in programs {
            let mut command = privilege.command(&program.path)?;
            command.current_dir(&program.package).arg("--bench").args(&self.args);
            eprintln!("==> {}", shown(&command));
            let status =
                command.status().with_context(|| format!("cannot start {}", program.name))?;
            if !status.success() {
                bail!("the benchmark {} failed ({status})", program.name);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
