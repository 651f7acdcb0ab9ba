//! Puts the eBPF objects where `include_bytes!` finds them, building them if need be.

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
    let disk = beside(&object, "disk_error");
    std::fs::copy(&disk, out_dir.join("disk_error.o"))
        .with_context(|| format!("cannot copy {}, which is built with it", disk.display()))?;
    place_test_programs(&object, &out_dir)
}

/// Another object of the same build.
fn beside(object: &Path, name: &str) -> PathBuf {
    object.with_file_name(name).with_extension(object.extension().unwrap_or_default())
}

/// The delay line's tests load programs of their own, which are built next to the product's.
fn place_test_programs(object: &Path, out_dir: &Path) -> Result<()> {
    let programs = beside(object, "delay_line_test");
    let placed = out_dir.join("delay_line_test.o");
    if programs.is_file() {
        println!("cargo::rerun-if-changed={}", programs.display());
        std::fs::copy(&programs, &placed)
            .with_context(|| format!("cannot copy {}", programs.display()))?;
    } else {
        // Only the tests miss them, and they say so.
        std::fs::write(&placed, b"")
            .with_context(|| format!("cannot write {}", placed.display()))?;
    }
    Ok(())
}
