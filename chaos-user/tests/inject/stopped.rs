//! One thread of another process that does not run.
#![expect(unsafe_code, reason = "nix offers ptrace(2) without PTRACE_INTERRUPT")]

use std::{fs, io, ptr};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A thread that is stopped as a debugger does it, so that the others of its process run on. It goes on
/// when this is dropped.
pub(crate) struct StoppedThread {
    thread: Pid,
    ended: bool,
}

impl StoppedThread {
    /// The first one of this name.
    pub(crate) fn of(process: u32, name: &str) -> Self {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
        let thread = threads
            .filter(|thread| {
                fs::read_to_string(thread.path().join("comm")).is_ok_and(|is| is.trim() == name)
            })
            .find_map(|thread| thread.file_name().to_str()?.parse().ok())
            .unwrap_or_else(|| panic!("process {process} has no thread {name}"));
        let thread = Pid::from_raw(thread);
        ptrace(libc::PTRACE_SEIZE, thread).unwrap();
        ptrace(libc::PTRACE_INTERRUPT, thread).unwrap();
        let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
        Self { thread, ended: false }
    }

    /// Whether it has ended meanwhile, with its process.
    pub(crate) fn has_ended(&mut self) -> bool {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        if !self.ended {
            let status = waitpid(self.thread, Some(flags));
            self.ended =
                matches!(status, Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_));
        }
        self.ended
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        if !self.ended {
            // It fails if the thread has ended.
            let _ = ptrace(libc::PTRACE_DETACH, self.thread);
        }
    }
}

fn ptrace(request: libc::c_uint, thread: Pid) -> io::Result<()> {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests used here touches memory of this process.
    match unsafe { libc::ptrace(request, thread.as_raw(), nothing, nothing) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
