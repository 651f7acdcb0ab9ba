//! Tools written in Rust: pinned, built once, kept in the build folder.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::{BPF_LINKER_VERSION, Layout, installed_tool};

use crate::command::cargo;
use crate::progress::run_logged;

/// A crate that installs a program of the same name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

const BPF_LINKER: Tool = Tool { name: "bpf-linker", version: BPF_LINKER_VERSION };

/// Checks licences, bans and sources of the dependencies.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Installs the pinned bpf-linker unless it is there.
pub(crate) fn ensure_bpf_linker(layout: &Layout) -> Result<()> {
    ensure_tool(layout, BPF_LINKER).map(|_| ())
}

/// Installs a tool unless exactly this version is there; returns the program.
pub(crate) fn ensure_tool(layout: &Layout, tool: Tool) -> Result<PathBuf> {
    let Tool { name, version } = tool;
    if let Some(program) = installed_tool(layout, name, version) {
        return Ok(program);
    }
    let build = layout.tools().join("build");
    let mut install = cargo(layout, "install");
    install
        .args(["--locked", "--version", version, name, "--root"])
        .arg(layout.tools())
        .env("CARGO_TARGET_DIR", &build);
    run_logged(layout, &format!("install {name} {version} (once)"), &mut install)?.success()?;
    // Hundreds of megabytes that nothing needs again.
    std::fs::remove_dir_all(&build)
        .with_context(|| format!("cannot remove {}", build.display()))?;
    installed_tool(layout, name, version).with_context(|| {
        format!("cargo installed {name} {version} but it is not in {}", layout.tools().display())
    })
}
