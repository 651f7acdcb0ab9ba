//! QEMU: the installed one, or Debian's unpacked into the build folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;

use super::archive::{unpack, with_dependencies};
use crate::privilege::find_program;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// A QEMU that can be started.
#[derive(Debug)]
pub(crate) enum Qemu {
    /// The distribution's, installed.
    Installed(PathBuf),
    /// Unpacked below this folder.
    Unpacked(PathBuf),
}

impl Qemu {
    /// Takes the installed one or unpacks one, once.
    pub(crate) fn fetch(layout: &Layout) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            bail!("test VMs boot Debian's amd64 kernels, and this machine is no amd64");
        }
        if let Some(program) = find_program(PROGRAM) {
            return Ok(Self::Installed(program));
        }
        let folder = layout.target().join("xtask/qemu");
        let complete = folder.join("complete");
        if !complete.is_file() {
            if folder.exists() {
                fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?;
            }
            unpack(layout, "QEMU", &with_dependencies(layout, PACKAGE)?, &folder)?;
            // Written last: a folder without it is fetched again.
            fs::write(&complete, "")
                .with_context(|| format!("cannot write {}", complete.display()))?;
        }
        Ok(Self::Unpacked(folder.join("root")))
    }

    /// A command line without any device.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Installed(program) => Command::new(program),
            Self::Unpacked(root) => {
                let mut command = Command::new(root.join("usr/bin").join(PROGRAM));
                command.env("LD_LIBRARY_PATH", library_path(root));
                for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                    command.arg("-L").arg(root.join(firmware));
                }
                command
            }
        }
    }
}

fn library_path(root: &Path) -> OsString {
    let mut path = root.join("usr/lib/x86_64-linux-gnu").into_os_string();
    path.push(":");
    path.push(root.join("lib/x86_64-linux-gnu"));
    path
}
