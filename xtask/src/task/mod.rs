//! The tasks, each a clap struct that runs itself.

mod audit;
mod bench;
mod build;
mod deny;
mod lint;
mod matrix;
mod root_suites;
mod run;
mod setup;
mod soak;
mod test;
mod torture;
mod vm;

pub(crate) use audit::Unsafe;
pub(crate) use bench::Bench;
pub(crate) use build::Build;
pub(crate) use deny::Deny;
pub(crate) use lint::Lint;
pub(crate) use matrix::Matrix;
pub(crate) use root_suites::RootSuites;
pub(crate) use run::Run;
pub(crate) use setup::Setup;
pub(crate) use soak::Soak;
pub(crate) use test::Test;
pub(crate) use torture::Torture;
pub(crate) use vm::Vm;

use std::process::ExitCode;

use anyhow::Result;
use chaos_ebpf_build::Layout;

/// Something to do with the workspace.
pub(crate) trait Task {
    /// Does it; the exit code becomes that of the process.
    fn run(self, layout: &Layout) -> Result<ExitCode>;
}
