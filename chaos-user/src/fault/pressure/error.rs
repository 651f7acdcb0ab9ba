//! Why a cgroup was not put under pressure.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::fault::JournalError;
use crate::fault::lockout::LockedOut;
use crate::host::{CgroupError, ControllerError};

/// A cgroup that was not put under pressure; nothing of it is changed.
#[derive(Debug, thiserror::Error)]
pub enum PressureError {
    /// It would cut the operator off, or hold this tool up.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
    /// It cannot be looked at.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It has no such limit.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// Two faults on one limit could not be put back in any order.
    #[error(
        "{file} of the cgroup {} is lowered already, by the run `{run}`; wait for it, or end it with \
         `chaos heal`",
        cgroup.display()
    )]
    Busy {
        /// The cgroup.
        cgroup: PathBuf,
        /// The limit.
        file: String,
        /// Whose fault it is.
        run: String,
    },
    /// The kernel refused.
    #[error("{what} {file} of the cgroup {}: {source}", cgroup.display())]
    Limit {
        /// What was attempted.
        what: &'static str,
        /// The cgroup.
        cgroup: PathBuf,
        /// The limit.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// The kernel did not do it.
    #[error("{file} of the cgroup {} is {now} after {wanted} was written", cgroup.display())]
    NotInForce {
        /// The cgroup.
        cgroup: PathBuf,
        /// The limit.
        file: String,
        /// What was written.
        wanted: String,
        /// What it is.
        now: String,
    },
    /// Without an undo record on disk nothing is touched.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl PressureError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cgroup(CgroupError::NotMounted) | Self::Controller(_) => Exit::HostUnable,
            Self::Limit { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Exit::HostUnable
            }
            Self::LockedOut(_) | Self::Cgroup(_) | Self::Busy { .. } => Exit::Usage,
            Self::Limit { .. } | Self::NotInForce { .. } | Self::Journal(_) => Exit::ToolFailed,
        }
    }
}
