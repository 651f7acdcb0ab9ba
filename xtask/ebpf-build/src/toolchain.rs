//! Which compiler can build `core` for the bpf target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages of a recent Rust with its library sources.
pub const DEBIAN_PACKAGES: [&str; 3] = ["cargo-web", "rustc-web", "rust-web-src"];

/// A compiler that can build `core` for the bpf target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// A rustup toolchain with the `rust-src` component, by its name.
    Rustup(String),
    /// Debian's packages.
    Debian {
        /// Where the distribution keeps the matching libLLVM, which bpf-linker loads.
        library_path: PathBuf,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup(name) => write!(f, "rustup {name}"),
            Self::Debian { .. } => f.write_str("Debian's rustc-web"),
        }
    }
}

impl Toolchain {
    pub(crate) fn is_rustup(&self) -> bool {
        matches!(self, Self::Rustup(_))
    }

    /// This toolchain's cargo, ready for unstable flags.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]).env_remove("RUSTC").env_remove("RUSTDOC");
                command
            }
            Self::Debian { library_path } => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("LD_LIBRARY_PATH", library_path);
                command
            }
        }
    }
}

/// Looks for a usable toolchain: rustup nightlies first, then Debian's packages.
pub fn find_toolchain() -> Option<Toolchain> {
    rustup_nightly().or_else(debian)
}

/// The commands that make [`find_toolchain`] succeed, one way per line.
pub fn how_to_get_a_toolchain() -> String {
    format!(
        "    rustup toolchain install nightly --profile minimal --component rust-src\n    \
         sudo apt-get install {}   (Debian 12 and later)\n",
        DEBIAN_PACKAGES.join(" ")
    )
}

fn rustup_nightly() -> Option<Toolchain> {
    let list = Command::new("rustup").args(["toolchain", "list"]).output().ok()?;
    let names = String::from_utf8(list.stdout).ok()?;
    names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .find(|name| has_rust_src(name))
        .map(|name| Toolchain::Rustup(name.into()))
}

fn has_rust_src(toolchain: &str) -> bool {
    let Ok(output) =
        Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

fn debian() -> Option<Toolchain> {
    let output = Command::new("/usr/bin/rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let sources = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !sources.is_file() || !Path::new("/usr/bin/cargo").is_file() {
        return None;
    }
    let library_path = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    Some(Toolchain::Debian { library_path: library_path.into() })
}
