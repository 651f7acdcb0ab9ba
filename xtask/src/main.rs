//! Everything that is done *to* this workspace: set-up, build, run, test, lint, bench.
//!
//! A task is a clap struct in `task/` that runs itself; this file is the table of them.

mod command;
mod lint;
mod monero;
mod privilege;
mod progress;
mod setup;
mod stage;
mod suite;
mod task;
mod vm;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use clap::{Parser, Subcommand};
use privilege::MissingPrivileges;

use task::Task as _;

const ABOUT: &str = "Builds, runs and tests chaos. Start with `cargo xtask run`.";

const LONG_ABOUT: &str = "\
Builds, runs and tests chaos, and fetches whatever that takes.

On a fresh Debian 12 machine with rustup's stable Rust, as root, `cargo xtask run` is all there is
to do: it looks for a compiler that can build for the bpf target (a rustup nightly with rust-src,
else Debian's rustc-web), installs Debian's packages if there is none, installs a pinned bpf-linker
into target/xtask/tools, builds everything and runs the experiments. A second run finds all of
that in place. Nothing is installed outside the build folder except distribution packages, and
those are named before they are installed.

Without root, the builds run as you and only what needs privileges goes through sudo; without sudo
the missing capabilities are listed with what each is for.

Full logs of every step are kept in target/xtask/logs.";

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = ABOUT, long_about = LONG_ABOUT)]
struct Cli {
    #[command(subcommand)]
    task: Tasks,
}

#[derive(Debug, Subcommand)]
enum Tasks {
    Setup(task::Setup),
    Build(task::Build),
    Run(task::Run),
    Test(task::Test),
    Vm(task::Vm),
    Lint(task::Lint),
    Bench(task::Bench),
    Matrix(task::Matrix),
    Soak(task::Soak),
    Torture(task::Torture),
    Deny(task::Deny),
    Unsafe(task::Unsafe),
    #[command(hide = true, name = "root-suites")]
    RootSuites(task::RootSuites),
}

/// `run` and `vm run` hand through the exit codes of `chaos`, in which 1 means that an experiment
/// failed. Their own failures have these of its codes: the tool failed…
const TOOL_FAILED: u8 = 5;

/// …and this host cannot do it.
const HOST_CANNOT: u8 = 4;

fn main() -> ExitCode {
    let Cli { task } = Cli::parse();
    let hands_exit_code_through = match &task {
        Tasks::Run(_) => true,
        Tasks::Vm(vm) => vm.hands_exit_code_through(),
        _ => false,
    };
    run(task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(match error.downcast_ref::<MissingPrivileges>() {
            _ if !hands_exit_code_through => 1,
            Some(_) => HOST_CANNOT,
            None => TOOL_FAILED,
        })
    })
}

fn run(task: Tasks) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no workspace")?;
    let layout = &Layout::new(root);
    match task {
        Tasks::Setup(task) => task.run(layout),
        Tasks::Build(task) => task.run(layout),
        Tasks::Run(task) => task.run(layout),
        Tasks::Test(task) => task.run(layout),
        Tasks::Vm(task) => task.run(layout),
        Tasks::Lint(task) => task.run(layout),
        Tasks::Bench(task) => task.run(layout),
        Tasks::Matrix(task) => task.run(layout),
        Tasks::Soak(task) => task.run(layout),
        Tasks::Torture(task) => task.run(layout),
        Tasks::Deny(task) => task.run(layout),
        Tasks::Unsafe(task) => task.run(layout),
        Tasks::RootSuites(task) => task.run(layout),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_task_says_what_it_does() {
        for task in Cli::command().get_subcommands().filter(|task| !task.is_hide_set()) {
            assert!(task.get_about().is_some(), "{} has no description", task.get_name());
        }
    }
}
