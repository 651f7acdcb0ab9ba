//! bpf-linker: pinned, and installed into the build folder rather than the user's home.

use std::path::PathBuf;

use crate::Layout;

/// Supports LLVM 20 to 22; see [`crate::SUPPORTED_LLVM`].
pub const BPF_LINKER_VERSION: &str = "0.10.2";

/// The linker that [`linker_install_command`] would install, if it is there already.
pub fn installed_linker(layout: &Layout) -> Option<PathBuf> {
    installed_tool(layout, "bpf-linker", BPF_LINKER_VERSION)
}

/// The program `name` of the crate of that name, if exactly this version is installed.
pub fn installed_tool(layout: &Layout, name: &str, version: &str) -> Option<PathBuf> {
    let marker = std::fs::read_to_string(layout.tools().join(".crates.toml")).ok()?;
    let program = layout.tools().join("bin").join(name);
    (marker.contains(&format!("\"{name} {version} ")) && program.is_file()).then_some(program)
}

/// The command that installs the linker, for people to copy.
pub fn linker_install_command(layout: &Layout) -> String {
    format!(
        "cargo install --locked --root {} --version {BPF_LINKER_VERSION} bpf-linker",
        layout.tools().display()
    )
}
