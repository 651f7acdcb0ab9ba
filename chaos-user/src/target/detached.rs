//! This program started again to go on by itself.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use super::process::open_pidfd;
use super::process_error::ProcessError;
use super::spawner::wait_readable;

/// This program, running on its own. Dropping this leaves it running.
#[derive(Debug)]
pub struct Detached {
    pidfd: OwnedFd,
    output: ChildStdout,
    child: Child,
}

/// Starts this program with other arguments, to outlive this process. Its standard output can be
/// read; it has no input, and its errors go nowhere until it puts them somewhere.
pub fn start_detached(arguments: &[&OsStr]) -> Result<Detached, ProcessError> {
    // Still the right file when it was replaced on disk since.
    let program = "/proc/self/exe";
    let failed = |source| ProcessError::Start { program: program.into(), source };
    let mut child = Command::new(program)
        .arg0("chaos")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let pidfd = open_pidfd(child.id()).map_err(|errno| failed(errno.into()))?;
    Ok(Detached { pidfd, output, child })
}

impl Detached {
    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output.
    pub fn output(&mut self) -> &mut ChildStdout {
        &mut self.output
    }

    /// Ends it: SIGTERM, `grace` to comply, then SIGKILL.
    pub fn end(&mut self, grace: Duration) {
        // Errors mean that it is gone already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        if !wait_readable(self.pidfd.as_fd(), grace) {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
