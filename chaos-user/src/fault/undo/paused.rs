//! Processes that were stopped (SIGSTOP) and have to go on.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::host::ProcessId;

/// How long a process may take to go on.
const WITHIN: Duration = Duration::from_secs(1);

/// A process, and perhaps its group, that may be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedUndo {
    /// The process: its number alone may mean another one by now.
    pub process: ProcessId,
    /// What it is called in messages.
    pub name: String,
    /// Whether everything in the process group that it leads was stopped with it.
    pub group: bool,
}

impl Undo for PausedUndo {
    fn describe(&self) -> String {
        format!("the paused process {} ({})", self.name, self.process.pid)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let mut members = vec![self.process];
        // The leader's number stays the group's for as long as anybody is in it.
        if self.group && self.process.is_alive() {
            members.extend(ProcessId::in_group(self.process.pid));
        }
        let mut resumed = false;
        for member in members {
            resumed |= resume(member).map_err(|errno| {
                UndoError::new(format!("process {}: {}", member.pid, errno.desc()))
            })?;
        }
        if !resumed {
            return Ok(Undone::Nothing);
        }
        Ok(Undone::Restored(format!("the pause of {} ({})", self.name, self.process.pid)))
    }
}

/// Lets one process go on and waits until it does; false if it is not stopped, or gone.
fn resume(process: ProcessId) -> Result<bool, Errno> {
    let Some(pidfd) = process.open() else { return Ok(false) };
    if !process.is_stopped() {
        return Ok(false);
    }
    match pidfd_send_signal(&pidfd, Signal::CONT) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(errno) => return Err(Errno::from_raw(errno.raw_os_error())),
    }
    let until = Instant::now() + WITHIN;
    while process.is_stopped() {
        if Instant::now() >= until {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}
