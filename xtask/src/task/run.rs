use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use super::build::build_release;
use crate::command::shown;
use crate::privilege::Privilege;

/// Build everything, then run the experiments against the reference target
///
/// Without arguments every experiment in experiments/ is run; names or files run those. Arguments
/// go to `chaos run` as they are. The exit code is that of `chaos`: 0 PASS, 1 FAIL, 2 INCONCLUSIVE,
/// 3 ABORTED, 4 this host cannot do it, 5 the tool failed (also: it could not be built),
/// 6 something could not be put back, 64 usage or a bad file.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Experiments (names or files) and options of `chaos run` [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Task for Run {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        // Before minutes of building, not after them.
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        let chaos = build_release(layout)?;
        let mut command = privilege.command(&chaos)?;
        command.current_dir(layout.root()).arg("run");
        if self.args.is_empty() {
            command.arg("all");
        } else {
            command.args(&self.args);
        }
        eprintln!("==> {}", shown(&command));
        // Replacing this process hands through exit codes and signals as they are.
        Err(command.exec()).with_context(|| format!("cannot start {}", shown(&command)))
    }
}
