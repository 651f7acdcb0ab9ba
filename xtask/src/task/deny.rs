use std::process::{Command, ExitCode};

use anyhow::Result;
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use crate::progress::run_logged;
use crate::setup::{CARGO_DENY, ensure_tool};

/// Check the dependencies' licences, bans and sources (deny.toml), and advisories on request
#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// Fetch the advisory database and check against it too
    #[arg(long)]
    advisories: bool,
}

impl Task for Deny {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let deny = ensure_tool(layout, CARGO_DENY)?;
        let mut command = Command::new(deny);
        command.current_dir(layout.root()).args(["--workspace", "--locked", "check"]);
        command.args(["licenses", "bans", "sources"]);
        if self.advisories {
            command.arg("advisories");
        }
        run_logged(layout, "cargo deny", &mut command)?.success()?;
        Ok(ExitCode::SUCCESS)
    }
}
