use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::{Builder, Layout, OBJECT_ENV};
use clap::Args;

use super::Task;
use crate::command::cargo;
use crate::progress::run_logged;
use crate::setup::ensure_all;

/// Build everything: the eBPF object, target/release/chaos and the reference target
#[derive(Debug, Args)]
pub(crate) struct Build {}

impl Task for Build {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let chaos = build_release(layout)?;
        println!("{}", chaos.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets up, builds and returns the path of the tool.
pub(crate) fn build_release(layout: &Layout) -> Result<PathBuf> {
    let builder = ensure_all(layout)?;
    build_object(layout, &builder)?;
    let mut build = cargo(layout, "build");
    build.args(["--release", "--locked", "--bins"]).args(["-p", "chaos-user", "-p", "marketplace"]);
    run_logged(layout, "build chaos and the reference target", &mut build)?.success()?;
    let chaos = layout.target().join("release/chaos");
    chaos.is_file().then_some(()).with_context(|| format!("no tool at {}", chaos.display()))?;
    Ok(chaos)
}

/// Builds the eBPF object, which cargo's own builds then take as it is.
pub(crate) fn build_object(layout: &Layout, builder: &Builder) -> Result<()> {
    if let Some(object) = std::env::var_os(OBJECT_ENV) {
        eprintln!("==> {OBJECT_ENV} is set: taking the eBPF object {}", object.display());
        return Ok(());
    }
    let name = format!("build the eBPF object with {}", builder.toolchain());
    run_logged(layout, &name, &mut builder.build_command()?)?.success()?;
    Ok(())
}
