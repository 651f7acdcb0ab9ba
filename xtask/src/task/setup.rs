use std::process::ExitCode;

use anyhow::Result;
use chaos_ebpf_build::{Layout, find_toolchain, installed_linker};
use clap::Args;

use super::Task;
use crate::setup::ensure_all;

/// Only fetch what building takes; every other task does this by itself
#[derive(Debug, Args)]
pub(crate) struct Setup {}

impl Task for Setup {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        ensure_all(layout)?;
        if let (Some(toolchain), Some(linker)) = (find_toolchain(), installed_linker(layout)) {
            println!("compiler for the bpf target: {toolchain}");
            println!("linker: {}", linker.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
