//! Which compiler can build `core` for the bpf target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::version::{RustcVersion, Unusable};

/// Debian's packages of a recent Rust with its library sources.
pub const DEBIAN_PACKAGES: [&str; 3] = ["cargo-web", "rustc-web", "rust-web-src"];

/// Debian's package of the clippy that belongs to [`DEBIAN_PACKAGES`].
pub const DEBIAN_CLIPPY: &str = "rust-web-clippy";

/// Where Debian's packages put their programs.
const DEBIAN_BIN: &str = "/usr/bin";

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

/// A compiler with the library sources that was looked at, and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The compiler.
    pub toolchain: Toolchain,
    /// What it says about itself.
    pub version: RustcVersion,
    /// Why it cannot be used, if so.
    pub unusable: Option<Unusable>,
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

    /// The folder that must come first on PATH, so that cargo finds this toolchain's own
    /// subcommands and not another's of the same name.
    pub(crate) fn bin(&self) -> Option<&'static Path> {
        match self {
            Self::Rustup(_) => None,
            Self::Debian { .. } => Some(Path::new(DEBIAN_BIN)),
        }
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

    /// Whether this toolchain has clippy.
    pub fn has_clippy(&self) -> bool {
        match self {
            Self::Rustup(name) => Command::new("rustup")
                .args(["run", name, "cargo-clippy", "--version"])
                .output()
                .is_ok_and(|output| output.status.success()),
            Self::Debian { .. } => Path::new("/usr/bin/clippy-driver").is_file(),
        }
    }
}

/// Looks for a usable toolchain: rustup nightlies first, then Debian's packages.
pub fn find_toolchain() -> Option<Toolchain> {
    candidates().find(|found| found.unusable.is_none()).map(|found| found.toolchain)
}

/// Every compiler with the library sources, usable or not, the preferred one first.
pub fn candidates() -> impl Iterator<Item = Candidate> {
    rustup_nightlies().chain(debian())
}

/// The commands that make [`find_toolchain`] succeed, one way per line.
pub fn how_to_get_a_toolchain() -> String {
    format!(
        "    rustup toolchain install nightly --profile minimal --component rust-src\n    \
         sudo apt-get install {}   (Debian 12 and later)\n",
        DEBIAN_PACKAGES.join(" ")
    )
}

fn rustup_nightlies() -> impl Iterator<Item = Candidate> {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    let names = list.map(|list| String::from_utf8_lossy(&list.stdout).into_owned());
    names
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(String::from)
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|name| {
            let rustc = || {
                let mut command = Command::new("rustup");
                command.args(["run", &name, "rustc"]);
                command
            };
            has_rust_src(&mut rustc()).then_some(())?;
            let version = RustcVersion::ask(&mut rustc())?;
            Some(Candidate::new(Toolchain::Rustup(name), version))
        })
}

fn debian() -> Option<Candidate> {
    let rustc = || Command::new("/usr/bin/rustc");
    if !has_rust_src(&mut rustc()) || !Path::new("/usr/bin/cargo").is_file() {
        return None;
    }
    let version = RustcVersion::ask(&mut rustc())?;
    let library_path = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    Some(Candidate::new(Toolchain::Debian { library_path: library_path.into() }, version))
}

fn has_rust_src(rustc: &mut Command) -> bool {
    let Ok(output) = rustc.args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

impl Candidate {
    fn new(toolchain: Toolchain, version: RustcVersion) -> Self {
        let unusable = version.check().err();
        Self { toolchain, version, unusable }
    }
}
