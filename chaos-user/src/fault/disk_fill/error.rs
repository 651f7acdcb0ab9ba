//! Why a filesystem was not filled.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::fault::JournalError;

/// A filesystem that was not filled; whatever was taken of it is given back.
#[derive(Debug, thiserror::Error)]
pub enum DiskFillError {
    /// The place is not there, or does not let files be made.
    #[error("cannot {what} {}: {source}", path.display())]
    Place {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Filling it would take this host down, or this tool.
    #[error(
        "{} is on the filesystem that holds {holds}, which is not filled unless `force: true` says \
         so; choose a filesystem of its own (a lab gives a process one with `disk: 16MiB`)",
        path.display()
    )]
    Protected {
        /// What was to be filled.
        path: PathBuf,
        /// What is there.
        holds: &'static str,
    },
    /// It has no size, as those that the kernel makes up.
    #[error("the filesystem of {} has no size of its own, so it cannot be full", path.display())]
    NoSize {
        /// What was to be filled.
        path: PathBuf,
    },
    /// Something else frees it faster, a quota forbids it, or the disk is slow.
    #[error(
        "{} could not be filled: {left} bytes are still missing after {seconds} s; others may free \
         it as fast, or a quota may be in the way",
        path.display()
    )]
    NotFull {
        /// What was to be filled.
        path: PathBuf,
        /// How long was tried.
        seconds: u64,
        /// What is missing.
        left: u64,
    },
    /// Without an undo record on disk nothing is touched.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl DiskFillError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Protected { .. } | Self::NoSize { .. } => Exit::Usage,
            Self::Place { .. } => Exit::HostUnable,
            Self::NotFull { .. } | Self::Journal(_) => Exit::ToolFailed,
        }
    }
}
