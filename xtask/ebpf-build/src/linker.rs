//! bpf-linker: pinned, and installed into the build folder rather than the user's home.

use std::path::{Path, PathBuf};

/// Supports LLVM 20 to 22, which covers both toolchains.
pub const BPF_LINKER_VERSION: &str = "0.10.2";

/// Where xtask installs tools of its own; `CARGO_TARGET_DIR` moves it along with the rest.
pub fn linker_root(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
        .join("xtask/tools")
}

/// The linker that [`linker_install_command`] would install, if it is there already.
pub fn installed_linker(workspace: &Path) -> Option<PathBuf> {
    let root = linker_root(workspace);
    let marker = std::fs::read_to_string(root.join(".crates.toml")).ok()?;
    let linker = root.join("bin/bpf-linker");
    (marker.contains(&format!("\"bpf-linker {BPF_LINKER_VERSION} ")) && linker.is_file())
        .then_some(linker)
}

/// The command that installs the linker, for people to copy.
pub fn linker_install_command(workspace: &Path) -> String {
    format!(
        "cargo install --locked --root {} --version {BPF_LINKER_VERSION} bpf-linker",
        linker_root(workspace).display()
    )
}
