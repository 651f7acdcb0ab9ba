use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use super::build::build_object;
use super::vm::command_in_guest;
use crate::command::{cargo, shown};
use crate::privilege::Privilege;
use crate::progress::run_logged;
use crate::setup::ensure_all;
use crate::suite::{build_static_benchmark, executables};
use crate::vm::{Image, Peers};

/// What runs in a guest: elsewhere there may be no netem to compare with.
const IN_GUEST: &str = "delay";

/// Tells it that everything it compares with is there.
const WITH_PEERS: &str = "--peers";

/// Build and run the benchmarks of chaos-user, with the privileges they need
///
/// What they are and what they showed is in docs/benchmarks.md. All of them take about ten minutes.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Only this one: data_plane, delay_line or delay
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Run `delay` in a VM with this kernel, which has netem: beside `tc` and tcconfig
    #[arg(long, value_name = "KERNEL", num_args = 0..=1, default_missing_value = "6.12")]
    vm: Option<String>,
    /// Go to each benchmark program as they are
    #[arg(last = true)]
    args: Vec<String>,
}

impl Task for Bench {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        build_object(layout, &ensure_all(layout)?)?;
        match self.vm.clone() {
            Some(kernel) => self.in_guest(layout, kernel),
            None => self.here(layout),
        }
    }
}

impl Bench {
    fn in_guest(self, layout: &Layout, kernel: String) -> Result<ExitCode> {
        if self.only.is_some_and(|only| only != IN_GUEST) {
            bail!("only the benchmark {IN_GUEST} runs in a VM");
        }
        let program = build_static_benchmark(layout, IN_GUEST)?;
        let mut argv = vec![program.to_string_lossy().into_owned(), WITH_PEERS.into()];
        argv.extend(self.args);
        let image = Image::new(layout, vec![program])?.with_peers(&Peers::fetch(layout)?)?;
        command_in_guest(layout, Some(kernel), image, argv)
    }

    fn here(self, layout: &Layout) -> Result<ExitCode> {
        let mut build = cargo(layout, "bench");
        build
            .args(["-p", "chaos-user", "--benches", "--no-run", "--locked"])
            .arg("--message-format=json-render-diagnostics");
        let finished = run_logged(layout, "build the benchmarks", &mut build)?.success()?;
        let messages = fs::read_to_string(&finished.out).with_context(|| {
            format!("cannot read cargo's messages in {}", finished.out.display())
        })?;
        let mut programs = executables(&messages, "bench");
        if let Some(only) = &self.only {
            programs.retain(|program| program.name == *only);
        }
        if programs.is_empty() {
            bail!("chaos-user has no such benchmark");
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
