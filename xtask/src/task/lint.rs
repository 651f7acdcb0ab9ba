use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use crate::command::cargo;
use crate::lint;
use crate::progress::run_logged;
use crate::setup::{ensure_all, ensure_clippy};
use crate::stage::{Report, render};

/// Check formatting, clippy on host and bpf target, and the house rules
#[derive(Debug, Args)]
pub(crate) struct Lint {}

impl Task for Lint {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let reports = lint_stages(layout);
        print!("{}", render(&reports));
        Ok(if reports.iter().all(Report::ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Runs every lint to its end.
pub(crate) fn lint_stages(layout: &Layout) -> Vec<Report> {
    vec![
        check("format", || format(layout)),
        check("house rules", || house_rules(layout)),
        check("clippy, host", || clippy_host(layout)),
        check("clippy, bpf target", || clippy_bpf(layout)),
    ]
}

/// A stage of one check, which cannot end the run.
fn check(name: &str, work: impl FnOnce() -> Result<()>) -> Report {
    let start = Instant::now();
    match work() {
        Ok(()) => Report::check(name, start.elapsed(), vec![]),
        Err(error) => Report::broken(name, start.elapsed(), &error),
    }
}

fn format(layout: &Layout) -> Result<()> {
    run_logged(layout, "format", cargo(layout, "fmt").args(["--all", "--check"]))?.success()?;
    Ok(())
}

fn house_rules(layout: &Layout) -> Result<()> {
    let broken = lint::check(layout)?;
    if broken.is_empty() { Ok(()) } else { Err(anyhow!("{}", broken.join("\n"))) }
}

fn clippy_host(layout: &Layout) -> Result<()> {
    // The build script of chaos-user builds the object; without the set-up it could not.
    ensure_all(layout)?;
    let mut clippy = cargo(layout, "clippy");
    clippy
        .args(["--workspace", "--exclude", "chaos-ebpf", "--all-targets", "--locked"])
        .args(["--", "-D", "warnings"]);
    run_logged(layout, "clippy, host", &mut clippy)?.success()?;
    Ok(())
}

fn clippy_bpf(layout: &Layout) -> Result<()> {
    let builder = ensure_clippy(layout, ensure_all(layout)?)?;
    let name = format!("clippy, bpf target, with {}", builder.toolchain());
    run_logged(layout, &name, &mut builder.clippy_command()?)?.success()?;
    Ok(())
}
