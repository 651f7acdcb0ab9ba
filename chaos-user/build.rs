//! Puts the eBPF object where `include_bytes!` finds it, building it if need be.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::{Builder, Layout, OBJECT_ENV};

fn main() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    for watched in ["chaos-ebpf", "chaos-common", "xtask/ebpf-build/src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed={OBJECT_ENV}");
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").context("no OUT_DIR")?);
    let object = match std::env::var_os(OBJECT_ENV) {
        Some(prebuilt) => {
            let prebuilt = PathBuf::from(prebuilt);
            println!("cargo::rerun-if-changed={}", prebuilt.display());
            prebuilt
        }
        None => Builder::new(Layout::new(workspace))?.build()?,
    };
    std::fs::copy(&object, out_dir.join("chaos.o"))
        .with_context(|| format!("cannot copy {}", object.display()))?;
    Ok(())
}
