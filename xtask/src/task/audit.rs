use std::process::ExitCode;

use anyhow::Result;
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use crate::lint;

/// List every use of `unsafe` and why it is sound; `cargo xtask lint` refuses one without a reason
#[derive(Debug, Args)]
pub(crate) struct Unsafe {}

impl Task for Unsafe {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let uses = lint::unsafe_uses(layout)?;
        for one in &uses {
            println!("{}: {}", one.place, one.reason.as_deref().unwrap_or("NO REASON GIVEN"));
        }
        let without = uses.iter().filter(|one| one.reason.is_none()).count();
        println!("{} uses, {without} without a reason", uses.len());
        Ok(if without == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
