//! Undoing: what a journal's records are for.

mod cgroup;
mod descriptors;
mod fill;
mod filter;
mod lab;
mod link;
mod paused;
mod root_netem;
mod service;
mod sysctl;

pub use cgroup::CgroupUndo;
pub use descriptors::DescriptorsUndo;
pub use fill::FillUndo;
pub use filter::FilterUndo;
pub use lab::LabUndo;
pub use link::LinkUndo;
pub use paused::PausedUndo;
pub use root_netem::RootNetemRecord;
pub use service::ServiceUndo;
pub use sysctl::SysctlUndo;

use std::error::Error;

/// A change that can be undone from its record alone, by any process, at any later time.
pub trait Undo {
    /// What was changed, as in "could not put back …".
    fn describe(&self) -> String;

    /// Compares the kernel's state with the record, undoes only what is ours, and reads back that it
    /// is undone. Idempotent: also right if the change was never made, is undone already, or the
    /// object is gone or somebody else's by now.
    fn undo(&self) -> Result<Undone, UndoError>;

    /// Whether the change is still there after the machine was booted, as files are.
    fn survives_reboot(&self) -> bool {
        false
    }
}

/// How undoing ended when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// There was nothing of ours.
    Nothing,
    /// This was put back.
    Restored(String),
}

/// Why something could not be put back.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct UndoError(Box<dyn Error + Send + Sync>);

impl UndoError {
    /// From what went wrong.
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(why.into())
    }
}
