//! Which rustc is recent enough to build the object, and not too recent for the linker.

use std::fmt;
use std::ops::RangeInclusive;
use std::process::Command;

/// The oldest rustc that the workspace accepts: its `rust-version`.
pub const MINIMUM_RUSTC: (u32, u32) = minimum();

/// The LLVM generations that the pinned bpf-linker can read.
pub const SUPPORTED_LLVM: RangeInclusive<u32> = 20..=22;

/// What `rustc -vV` says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustcVersion {
    /// Major and minor of the release.
    pub release: (u32, u32),
    /// LLVM's major version.
    pub llvm: u32,
}

/// Why a compiler cannot build the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Older than [`MINIMUM_RUSTC`].
    TooOld,
    /// Its LLVM is outside [`SUPPORTED_LLVM`].
    Llvm(u32),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = MINIMUM_RUSTC;
        match self {
            Self::TooOld => write!(f, "older than the {major}.{minor} that this workspace needs"),
            Self::Llvm(llvm) => write!(
                f,
                "built on LLVM {llvm}, and bpf-linker {} reads LLVM {} to {}",
                crate::BPF_LINKER_VERSION,
                SUPPORTED_LLVM.start(),
                SUPPORTED_LLVM.end()
            ),
        }
    }
}

impl RustcVersion {
    /// Reads the output of `rustc -vV`.
    pub fn parse(verbose: &str) -> Option<Self> {
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
        let mut release = field("release: ")?.split(['.', '-']).map(str::parse::<u32>);
        let llvm = field("LLVM version: ")?.split('.').next()?.trim().parse().ok()?;
        Some(Self { release: (release.next()?.ok()?, release.next()?.ok()?), llvm })
    }

    /// Asks a compiler.
    pub(crate) fn ask(rustc: &mut Command) -> Option<Self> {
        let output = rustc.arg("-vV").output().ok().filter(|output| output.status.success())?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Whether it can build the object with the pinned linker.
    pub fn check(&self) -> Result<(), Unusable> {
        if self.release < MINIMUM_RUSTC {
            Err(Unusable::TooOld)
        } else if !SUPPORTED_LLVM.contains(&self.llvm) {
            Err(Unusable::Llvm(self.llvm))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for RustcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} (LLVM {})", self.release.0, self.release.1, self.llvm)
    }
}

/// Reads `MAJOR.MINOR` out of cargo's `rust-version` of this package.
const fn minimum() -> (u32, u32) {
    let bytes = env!("CARGO_PKG_RUST_VERSION").as_bytes();
    let mut parts = [0; 3];
    let mut part = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'.' {
            part += 1;
        } else {
            parts[part] = parts[part] * 10 + (bytes[at] - b'0') as u32;
        }
        at += 1;
    }
    (parts[0], parts[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (abc 2026-05-01)\nbinary: rustc\n\
                           host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\n\
                           LLVM version: 22.1.4\n";

    #[test]
    fn a_nightly_is_understood() {
        let version = RustcVersion::parse(NIGHTLY).unwrap();
        assert_eq!(version, RustcVersion { release: (1, 97), llvm: 22 });
        assert_eq!(version.check(), Ok(()));
    }

    #[test]
    fn nonsense_is_no_version() {
        for text in ["", "release: x.y\nLLVM version: 22.0", "release: 1.95.0\n", "release: 1\n"] {
            assert_eq!(RustcVersion::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_bounds_hold() {
        let (major, minor) = MINIMUM_RUSTC;
        let with = |release, llvm| RustcVersion { release, llvm }.check();
        assert_eq!(with((major, minor), 20), Ok(()));
        assert_eq!(with((major, minor - 1), 20), Err(Unusable::TooOld));
        assert_eq!(with((major, minor), 19), Err(Unusable::Llvm(19)));
        assert_eq!(with((major, minor + 5), 23), Err(Unusable::Llvm(23)));
    }

    #[test]
    fn the_minimum_is_the_workspaces() {
        let (major, minor) = MINIMUM_RUSTC;
        assert!(env!("CARGO_PKG_RUST_VERSION").starts_with(&format!("{major}.{minor}")));
    }
}
