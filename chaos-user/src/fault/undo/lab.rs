//! A lab: its processes must not outlive the run that made it.

use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::host::ProcessId;
use crate::target::wait_readable;

/// How long the first process may take to notice by itself that its lab is gone, and how long the
/// kernel may take to end everything in its namespace after it was killed.
const NOTICES_WITHIN: Duration = Duration::from_millis(500);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The PID namespace that a lab's processes live in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabUndo {
    /// Its first process. The kernel kills all others there with it; the network namespaces, which
    /// nothing else holds, go with their processes.
    pub first: ProcessId,
}

impl Undo for LabUndo {
    fn describe(&self) -> String {
        format!("the lab of process {}", self.first.pid)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let Some(pidfd) = self.first.open() else { return Ok(Undone::Nothing) };
        if wait_readable(pidfd.as_fd(), NOTICES_WITHIN) {
            return Ok(Undone::Nothing);
        }
        // An error means that it is gone.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        if wait_readable(pidfd.as_fd(), ENDS_WITHIN) {
            Ok(Undone::Restored("the processes of a lab".into()))
        } else {
            Err(UndoError::new(format!("process {} did not end of SIGKILL", self.first.pid)))
        }
    }
}
