//! A kernel out of the archive: its image, its configuration, its modules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;

use super::archive::{newest, unpack};
use super::catalogue::KernelEntry;

/// An unpacked kernel package.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The package it came in.
    pub(crate) package: String,
    /// What QEMU boots.
    pub(crate) image: PathBuf,
    /// The folder of this release's modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// Takes it from the build folder, or from the archive once.
    pub(crate) fn fetch(layout: &Layout, entry: &KernelEntry) -> Result<Self> {
        let folder = layout.target().join("xtask/kernels").join(&entry.name);
        let complete = folder.join("package");
        if let Ok(package) = fs::read_to_string(&complete) {
            return Self::unpacked(&folder, package);
        }
        let package = newest(layout, &entry.package)?;
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        unpack(layout, &package, std::slice::from_ref(&package), &folder)?;
        let kernel = Self::unpacked(&folder, package.clone())?;
        // Written last: a folder without it is fetched again.
        fs::write(&complete, package)
            .with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(kernel)
    }

    fn unpacked(folder: &Path, package: String) -> Result<Self> {
        let root = folder.join("root");
        let image = only(&root.join("boot"), "vmlinuz-")?;
        let below = ["lib/modules", "usr/lib/modules"].map(|name| root.join(name));
        let modules = below.iter().find(|folder| folder.is_dir()).unwrap_or(&below[0]);
        let modules = only(modules, "")?;
        Ok(Self { package, image, modules })
    }
}

/// The only entry of a folder whose name starts like this.
fn only(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path());
    let first = found.next().with_context(|| format!("no {start}* in {}", folder.display()))?;
    anyhow::ensure!(found.next().is_none(), "more than one {start}* in {}", folder.display());
    Ok(first)
}
