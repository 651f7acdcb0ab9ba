//! The thread that starts processes, and the PID namespace that contains them.
//!
//! A child is tied to the *thread* that forked it (`PR_SET_PDEATHSIG`), so all children are forked
//! by one thread that lives as long as they may. A contained spawner forks into a PID namespace
//! whose first process waits for a pipe to close: when the owner ends in any way, SIGKILL
//! included, that process ends, and the kernel kills everything in the namespace with it,
//! grandchildren and daemons too.

#![expect(unsafe_code, reason = "fork, and code between fork and exec")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::process_error::{ProcessError, SandboxStep};
use super::sandbox::{Prepared, Surroundings};

/// How long the end of a PID namespace is waited for.
const END_WITHIN: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// Starts processes. Must outlive them: they are killed when it is dropped.
#[derive(Debug)]
pub struct Spawner {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    init: Option<Init>,
    own_proc: bool,
}

impl Spawner {
    /// One whose processes live in the PID namespace of this process.
    pub fn on_host() -> Result<Self, ProcessError> {
        Self::start(|| Ok(None), false)
    }

    /// One whose processes live in a PID namespace of their own, and die with this process
    /// together with everything that they started. Needs CAP_SYS_ADMIN.
    pub fn contained() -> Result<Self, ProcessError> {
        Self::start(|| Init::start().map(Some), true)
    }

    /// One whose processes live in an existing PID namespace. Needs CAP_SYS_ADMIN.
    pub fn inside(pid_namespace: OwnedFd) -> Result<Self, ProcessError> {
        let join = move || {
            setns(pid_namespace, CloneFlags::CLONE_NEWPID)
                .map_err(|errno| contain("entering the PID namespace", errno))?;
            Ok(None)
        };
        Self::start(join, true)
    }

    fn start(
        prepare: impl FnOnce() -> Result<Option<Init>, ProcessError> + Send + 'static,
        own_proc: bool,
    ) -> Result<Self, ProcessError> {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        let (prepared, ready) = channel();
        let thread = thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                let init = prepare();
                let failed = init.is_err();
                if prepared.send(init).is_err() || failed {
                    return;
                }
                for job in work {
                    job();
                }
            })
            .map_err(|_| contain("starting a thread", Errno::EAGAIN))?;
        let init = ready.recv().map_err(|_| ProcessError::SpawnerGone)??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), init, own_proc })
    }

    /// The first process of the PID namespace that this one made: while it lives,
    /// `/proc/ID/ns/pid` leads there.
    pub fn init_pid(&self) -> Option<u32> {
        self.init.as_ref().map(|init| init.pid.as_raw().cast_unsigned())
    }

    /// Starts `command` with the given surroundings and waits until it is the new program.
    pub(super) fn spawn(
        &self,
        mut command: Command,
        surroundings: Option<&Surroundings>,
        own_session: bool,
    ) -> Result<Child, ProcessError> {
        let program = command.get_program().to_owned();
        let program = Path::new(&program);
        let start = |source| ProcessError::Start { program: program.into(), source };
        let prepared =
            Prepared::new(surroundings, command.get_current_dir(), own_session, self.own_proc);
        let (told, report) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| start(errno.into()))?;
        let enter = move || prepared.enter(&report);
        // SAFETY: `enter` only makes system calls on memory that was prepared above.
        unsafe { command.pre_exec(enter) };
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            // `command` holds the pipe's other end, and must be gone before the answer arrives.
            let child = command.spawn();
            drop(command);
            let _ = done.send(child);
        });
        let jobs = self.jobs.as_ref().ok_or(ProcessError::SpawnerGone)?;
        jobs.send(job).map_err(|_| ProcessError::SpawnerGone)?;
        result.recv().map_err(|_| ProcessError::SpawnerGone)?.map_err(|source| {
            let mut step = [0];
            let step = match File::from(told).read(&mut step) {
                Ok(1) => SandboxStep::from_byte(step[0]),
                _ => None,
            };
            match (step, source.raw_os_error()) {
                (Some(step), Some(errno)) => {
                    let errno = Errno::from_raw(errno);
                    ProcessError::Sandbox { program: program.into(), step, errno }
                }
                _ => start(source),
            }
        })
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Only after every direct child was reaped can the namespace's first process end;
        // `Process` sees to that, because it holds the spawner.
        drop(self.init.take());
    }
}

fn contain(what: &'static str, errno: Errno) -> ProcessError {
    ProcessError::Contain { what, errno }
}

/// The first process of a PID namespace.
#[derive(Debug)]
struct Init {
    pid: Pid,
    pidfd: OwnedFd,
    life: Option<OwnedFd>,
}

impl Init {
    /// Makes a PID namespace for the children of the calling thread, and its first process.
    fn start() -> Result<Self, ProcessError> {
        unshare(CloneFlags::CLONE_NEWPID)
            .map_err(|errno| contain("making a PID namespace", errno))?;
        let (end, life) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| contain("making a pipe", errno))?;
        // Opened here, because opening is one of the things that need not work after a fork.
        let nowhere = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| contain("opening /dev/null", errno))?;
        // SAFETY: the child only makes system calls and never returns.
        match unsafe { fork() }.map_err(|errno| contain("starting the first process", errno))? {
            ForkResult::Child => first_process(end.as_fd(), nowhere.as_fd()),
            ForkResult::Parent { child: pid } => {
                let raw = rustix::process::Pid::from_raw(pid.as_raw());
                let raw = raw.ok_or_else(|| contain("starting the first process", Errno::ESRCH))?;
                // Not reaped yet, so the number still means this process.
                let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| {
                    contain("opening the first process", Errno::from_raw(errno.raw_os_error()))
                })?;
                Ok(Self { pid, pidfd, life: Some(life) })
            }
        }
    }
}

/// What the first process does: keep nothing open, let orphans be reaped, and wait for the pipe.
fn first_process(end: BorrowedFd<'_>, nowhere: BorrowedFd<'_>) -> ! {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::sys::prctl::set_name(c"chaos-lab");
    let _ = SigSet::all().thread_block();
    // SAFETY: no Rust code runs on this signal; ignoring SIGCHLD makes the kernel reap.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    let mut stdin = std::mem::ManuallyDrop::new(fd_number(0));
    let mut stdout = std::mem::ManuallyDrop::new(fd_number(1));
    let mut stderr = std::mem::ManuallyDrop::new(fd_number(2));
    let _ = nix::unistd::dup2(nowhere, &mut stdout);
    let _ = nix::unistd::dup2(nowhere, &mut stderr);
    if nix::unistd::dup2(end, &mut stdin).is_ok() {
        // The pipe's own writing end is among what is closed here; else it would never close.
        // SAFETY: nothing in this process uses those descriptors any more.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        let mut nothing = [0_u8; 1];
        while rustix::io::read(&*stdin, &mut nothing) == Err(rustix::io::Errno::INTR) {}
    }
    // SAFETY: ends this process without running what belongs to its parent.
    unsafe { libc::_exit(0) }
}

fn fd_number(number: i32) -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the caller never drops it, and only uses it as the place of a dup2.
    unsafe { OwnedFd::from_raw_fd(number) }
}

impl Drop for Init {
    fn drop(&mut self) {
        drop(self.life.take());
        if !wait_readable(self.pidfd.as_fd(), END_WITHIN) {
            let _ = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
            wait_readable(self.pidfd.as_fd(), END_WITHIN);
        }
        let _ = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}

/// Waits until a descriptor is readable: for a pidfd, until the process ended.
pub fn wait_readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let deadline = std::time::Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        // Rounded up, so that the last fraction of a millisecond does not become a busy loop.
        let timeout = left.as_micros().div_ceil(1000).min(60_000) as u16;
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}
