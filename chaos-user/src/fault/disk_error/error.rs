//! Why a filesystem does not fail.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::fault::FaultError;
use crate::kernel::bpf::BpfError;

/// A filesystem that was not made to fail; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DiskErrorError {
    /// The place is not there.
    #[error("cannot {what} {}: {source}", path.display())]
    Place {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It would take this host down, or this tool.
    #[error(
        "{} is on the filesystem that holds {holds}, which is not made to fail for everybody unless \
         `force: true` says so; choose a cgroup or a unit, or a filesystem of its own (a lab gives \
         a process one with `disk: 16MiB`)",
        path.display()
    )]
    Protected {
        /// What was to fail.
        path: PathBuf,
        /// What is there.
        holds: &'static str,
    },
    /// The kernel has no LSM programs, or does not let us load them.
    #[error(
        "this kernel takes no LSM programs, which make filesystems fail (CONFIG_BPF_LSM, \
         CONFIG_DEBUG_INFO_BTF, and the right to load them are needed); `disk-fill` works without: \
         {0}"
    )]
    Refused(#[source] BpfError),
    /// The kernel has them and does not ask them.
    #[error(
        "`bpf` is not among this kernel's active security modules (/sys/kernel/security/lsm), so \
         LSM programs, which make filesystems fail, are never asked; boot with `lsm=…,bpf`, or use \
         `disk-fill`, which works without"
    )]
    Inactive,
    /// Something else that all faults need.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

impl DiskErrorError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Protected { .. } => Exit::Usage,
            Self::Place { .. } | Self::Refused(_) | Self::Inactive => Exit::HostUnable,
            Self::Fault(error) => error.exit(),
        }
    }
}
