//! This program started again beside this process, which waits for its end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use super::process::open_pidfd;
use super::process_error::ProcessError;
use super::program::find_program;
use super::spawner::wait_readable;

/// This program beside this process. Dropping this leaves it running.
#[derive(Debug)]
pub struct Beside {
    pidfd: OwnedFd,
    child: Child,
}

/// Starts this program with other arguments, a descriptor as its standard input, no standard output,
/// and the standard error of this process.
pub fn start_beside(arguments: &[&OsStr], input: OwnedFd) -> Result<Beside, ProcessError> {
    let own = std::env::current_exe().unwrap_or_default();
    // A test is not this program, which is near it then.
    let program = if own.file_stem() == Some(OsStr::new("chaos")) || own.as_os_str().is_empty() {
        // Still the right file when it was replaced on disk since.
        "/proc/self/exe".into()
    } else {
        find_program("chaos", "/".as_ref())?
    };
    let failed = |source| ProcessError::Start { program: program.clone(), source };
    let child = Command::new(&program)
        .arg0("chaos")
        .args(arguments)
        .stdin(input)
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let pidfd = open_pidfd(child.id()).map_err(|errno| failed(errno.into()))?;
    Ok(Beside { pidfd, child })
}

impl Beside {
    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor of its own that means it.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Waits until it ended, at most `within`; false if it still runs then.
    pub fn has_ended(&self, within: Duration) -> bool {
        wait_readable(self.pidfd.as_fd(), within)
    }

    /// Waits until it ended by itself, kills it if that takes longer than `within`, and forgets it.
    pub fn end(&mut self, within: Duration) {
        if !wait_readable(self.pidfd.as_fd(), within) {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
