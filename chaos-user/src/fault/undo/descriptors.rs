//! Processes that may not open files.

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::host::{DescriptorLimit, ProcessId};

/// A process whose limit of open files may be lowered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorsUndo {
    /// The process: its number alone may mean another one by now.
    pub process: ProcessId,
    /// What it is called in messages.
    pub name: String,
    /// Its limit before.
    pub before: DescriptorLimit,
    /// What the soft limit is now.
    pub ours: u64,
}

impl DescriptorsUndo {
    /// Its limit under the fault.
    pub fn lowered(&self) -> DescriptorLimit {
        DescriptorLimit { soft: Some(self.ours), hard: self.before.hard }
    }
}

impl Undo for DescriptorsUndo {
    fn describe(&self) -> String {
        format!("the limit of open files of {} ({})", self.name, self.process.pid)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let mut restored = false;
        // What it started meanwhile has inherited the limit.
        for process in self.process.with_descendants() {
            // A limit that somebody else has changed since is theirs, and one that is gone is nobody's.
            if !DescriptorLimit::of(process).is_ok_and(|now| now == self.lowered()) {
                continue;
            }
            if let Err(error) = self.before.set(process)
                && process.is_alive()
            {
                return Err(UndoError::new(format!("process {}: {error}", process.pid)));
            }
            let now = DescriptorLimit::of(process);
            if now.is_ok_and(|now| now == self.lowered() && now != self.before) {
                return Err(UndoError::new(format!("process {} keeps its limit", process.pid)));
            }
            restored = true;
        }
        Ok(if restored { Undone::Restored(self.describe()) } else { Undone::Nothing })
    }
}
