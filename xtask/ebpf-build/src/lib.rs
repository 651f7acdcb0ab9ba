//! Finds a compiler for the bpf target and builds the eBPF object.
//!
//! `core` has to be compiled for the bpf target, which needs the standard library's sources. Two
//! toolchains can do it: a rustup nightly with the `rust-src` component, and, on Debian, the
//! distribution's `cargo-web`, `rustc-web` and `rust-web-src`. xtask and `chaos-user`'s build
//! script share this code, so that `cargo check` and `cargo xtask build` cannot disagree.

mod layout;
mod linker;
mod toolchain;
mod version;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub use layout::Layout;
pub use linker::{BPF_LINKER_VERSION, installed_linker, installed_tool, linker_install_command};
pub use toolchain::{
    Candidate, DEBIAN_CLIPPY, DEBIAN_PACKAGES, Toolchain, candidates, find_toolchain,
    how_to_get_a_toolchain,
};
pub use version::{MINIMUM_RUSTC, RustcVersion, SUPPORTED_LLVM, Unusable};

/// Names a prebuilt object: the build script then takes it and builds nothing.
pub const OBJECT_ENV: &str = "CHAOS_EBPF_OBJECT";

/// The target triple of the object on this machine.
pub const fn target() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// Everything that decides how the object is built.
#[derive(Debug)]
pub struct Builder {
    layout: Layout,
    toolchain: Toolchain,
    linker: PathBuf,
}

impl Builder {
    /// Looks for the toolchain and for bpf-linker; the error says which commands to run.
    pub fn new(layout: Layout) -> Result<Self> {
        let toolchain = find_toolchain();
        let linker = installed_linker(&layout);
        match (toolchain, linker) {
            (Some(toolchain), Some(linker)) => Ok(Self { layout, toolchain, linker }),
            (toolchain, linker) => {
                let mut missing = String::new();
                if toolchain.is_none() {
                    missing.push_str("\nno compiler for the bpf target; run either of\n");
                    missing.push_str(&how_to_get_a_toolchain());
                }
                if linker.is_none() {
                    missing.push_str("\nno bpf-linker; run\n    ");
                    missing.push_str(&linker_install_command(&layout));
                    missing.push('\n');
                }
                bail!(
                    "the eBPF object cannot be built:\n{missing}\n\
                     or let `cargo xtask build` do all of this"
                )
            }
        }
    }

    /// The same, with another toolchain.
    #[must_use]
    pub fn with_toolchain(self, toolchain: Toolchain) -> Self {
        Self { toolchain, ..self }
    }

    /// Which compiler was found, for progress output.
    pub fn toolchain(&self) -> &Toolchain {
        &self.toolchain
    }

    /// Builds the object and returns its path.
    pub fn build(&self) -> Result<PathBuf> {
        run(&mut self.build_command()?)?;
        let object = self.object();
        if !object.is_file() {
            bail!("the bpf build succeeded but left no object at {}", object.display());
        }
        Ok(object)
    }

    /// The command that builds [`Self::object`].
    pub fn build_command(&self) -> Result<Command> {
        self.cargo("build")
    }

    /// Where the object is once it is built.
    pub fn object(&self) -> PathBuf {
        self.layout.bpf().join(target()).join("release/chaos")
    }

    /// Clippy over the bpf crate, warnings being errors; needs [`Toolchain::has_clippy`].
    pub fn clippy_command(&self) -> Result<Command> {
        let mut command = self.cargo("clippy")?;
        command.args(["--", "-D", "warnings"]);
        Ok(command)
    }

    fn cargo(&self, verb: &str) -> Result<Command> {
        let mut command = self.toolchain.cargo();
        command
            .current_dir(self.layout.root())
            .args([verb, "--release", "--package", "chaos-ebpf", "--locked"])
            .args(["-Z", "build-std=core", "--target", target()])
            .arg("--target-dir")
            .arg(self.layout.bpf())
            .env("PATH", path_with([self.toolchain.bin(), self.linker.parent()])?)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags());
        // What an outer cargo sets for its own compiler must not leak into this one.
        for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTC"] {
            command.env_remove(name);
        }
        if !self.toolchain.is_rustup() {
            command.env_remove("RUSTUP_TOOLCHAIN");
        }
        Ok(command)
    }
}

/// Debug info becomes BTF; cpu v3 has 32-bit jumps and real atomics.
fn rustflags() -> String {
    let arch = if cfg!(target_arch = "x86_64") { "x86_64" } else { std::env::consts::ARCH };
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        "-Ctarget-cpu=v3".into(),
    ]
    .join("\x1f")
}

fn path_with(first: [Option<&Path>; 2]) -> Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let dirs =
        first.into_iter().flatten().map(Path::to_path_buf).chain(std::env::split_paths(&old));
    std::env::join_paths(dirs).context("a folder on PATH has a colon in its name")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}
