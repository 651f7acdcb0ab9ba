//! Where the workspace keeps what it builds.

use std::path::{Path, PathBuf};

/// The workspace and its build folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    target: PathBuf,
}

impl Layout {
    /// The layout of the workspace at `root`; `CARGO_TARGET_DIR` moves the build folder.
    pub fn new(root: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        Self { root: root.into(), target }
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// cargo's build folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where xtask installs tools of its own.
    pub fn tools(&self) -> PathBuf {
        self.target.join("xtask/tools")
    }

    /// The build folder of the bpf target, apart from [`Self::target`], which an outer cargo may
    /// have locked. Every profile and target of the host side shares it, so the object is built
    /// once.
    pub fn bpf(&self) -> PathBuf {
        self.target.join("xtask/bpf")
    }
}
