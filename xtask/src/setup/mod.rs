//! Makes this machine able to build: a compiler for the bpf target, a C compiler, pinned tools.
//!
//! Nothing is done twice: each part first looks whether it is there already, which takes a few
//! hundred milliseconds in all.

mod cc;
mod debian;
mod decide;
mod toolchain;
mod tools;

pub(crate) use cc::ensure_c_compiler;
pub(crate) use debian::Distribution;
pub(crate) use toolchain::{ensure_clippy, ensure_toolchain};
pub(crate) use tools::{CARGO_DENY, ensure_bpf_linker, ensure_tool};

use anyhow::Result;
use chaos_ebpf_build::{Builder, Layout};

/// Everything a build needs; returns what builds the eBPF object.
pub(crate) fn ensure_all(layout: &Layout) -> Result<Builder> {
    let distribution = Distribution::of_this_machine();
    ensure_c_compiler(layout, &distribution)?;
    ensure_toolchain(layout, &distribution)?;
    ensure_bpf_linker(layout)?;
    Builder::new(layout.clone())
}
