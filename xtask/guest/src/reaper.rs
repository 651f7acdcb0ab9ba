//! PID 1 inherits every orphan.

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// Collects what has ended, except `spare`, which somebody else waits for.
pub(crate) fn reap(spare: Option<Pid>) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // Bounded: one look per orphan, and a child that is spared ends the round.
    for _ in 0..1024 {
        let Ok(WaitStatus::Exited(ended, _) | WaitStatus::Signaled(ended, _, _)) =
            waitid(Id::All, look)
        else {
            return;
        };
        if Some(ended) == spare || waitpid(ended, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD)
        {
            return;
        }
    }
}
