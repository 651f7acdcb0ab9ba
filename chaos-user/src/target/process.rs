//! A process that is kept: started, watched, signalled, stopped and started again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::exit::Exit;
use super::process_error::ProcessError;
use super::sandbox::Surroundings;
use super::spawner::{Spawner, wait_readable};

/// How long a killed process may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// The pause before the first automatic restart; it doubles up to [`RESTART_AT_MOST`].
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// The longest pause before an automatic restart.
const RESTART_AT_MOST: Duration = Duration::from_secs(5);
/// A process that ran this long has proven itself: its next restart is quick again.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug, Clone)]
pub struct ProcessCommand {
    /// What the process is called in messages.
    pub name: String,
    /// The executable file; see [`find_program`].
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<OsString>,
    /// What is added to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; that of this process if `None`.
    pub directory: Option<PathBuf>,
    /// Where its output and its errors go, in one file, appended.
    pub log: PathBuf,
}

/// What follows when a process ends without having been told to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    Never,
    /// It is started again, after a pause, unless it ended with exit code 0.
    OnFailure,
    /// It is started again, after a pause.
    Always,
}

impl RestartPolicy {
    fn wants(self, exit: Exit) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => !exit.success(),
            Self::Always => true,
        }
    }
}

/// A process that is kept. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    command: ProcessCommand,
    surroundings: Option<Surroundings>,
    spawner: Arc<Spawner>,
    policy: RestartPolicy,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    exit: Option<Exit>,
    restarts: u32,
    /// Whether it is meant to run; an automatic restart needs this.
    wanted: bool,
    closing: bool,
}

#[derive(Debug, Clone)]
struct Running {
    pid: u32,
    pidfd: Arc<OwnedFd>,
    since: Instant,
}

impl Process {
    /// Starts a process in a session of its own.
    pub fn start(
        command: ProcessCommand,
        surroundings: Option<Surroundings>,
        spawner: Arc<Spawner>,
        policy: RestartPolicy,
    ) -> Result<Self, ProcessError> {
        let shared = Arc::new(Shared {
            command,
            surroundings,
            spawner,
            policy,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        shared.launch(&mut shared.lock())?;
        // Owned by then: without its watcher the process must not run on unkept.
        let mut process = Self { shared, watcher: None };
        if policy != RestartPolicy::Never {
            let shared = Arc::clone(&process.shared);
            let watcher = thread::Builder::new().name("watcher".into());
            process.watcher = Some(watcher.spawn(move || shared.watch()).map_err(|source| {
                let program = process.shared.command.program.clone();
                ProcessError::Start { program, source }
            })?);
        }
        Ok(process)
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.shared.command.name
    }

    /// What was started.
    pub fn command(&self) -> &ProcessCommand {
        &self.shared.command
    }

    /// Its id, while it runs. The same number may mean another process later: see [`Self::pidfd`].
    pub fn pid(&self) -> Option<u32> {
        let mut state = self.shared.lock();
        self.shared.reap(&mut state);
        state.running.as_ref().map(|running| running.pid)
    }

    /// A descriptor that always means this process; readable once it ended.
    pub fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        let mut state = self.shared.lock();
        self.shared.reap(&mut state);
        state.running.as_ref().map(|running| Arc::clone(&running.pidfd))
    }

    /// Whether it runs; a stopped (SIGSTOP) process counts as running.
    pub fn alive(&self) -> bool {
        self.pid().is_some()
    }

    /// How it ended the last time that it did.
    pub fn last_exit(&self) -> Option<Exit> {
        let mut state = self.shared.lock();
        self.shared.reap(&mut state);
        state.exit
    }

    /// How often it was started again, by [`Self::restart`] or by its policy.
    pub fn restarts(&self) -> u32 {
        self.shared.lock().restarts
    }

    /// Sends a signal to the process alone. It is restarted by its policy if it ends of it.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        self.shared.with_running(|running| {
            // Not reaped yet, so the number still means this process.
            nix::sys::signal::kill(pid_of(running.pid), signal)
        })
    }

    /// Kills the process and everything in its session's first group, as a crash would: it is
    /// restarted by its policy.
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.shared.signal_group(Signal::SIGKILL)
    }

    /// Freezes the process and its group (SIGSTOP).
    pub fn freeze(&self) -> Result<(), ProcessError> {
        self.shared.signal_group(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) -> Result<(), ProcessError> {
        self.shared.signal_group(Signal::SIGCONT)
    }

    /// Waits until it ended, at most `within`; `None` if it still runs then.
    pub fn wait(&self, within: Duration) -> Option<Exit> {
        if let Some(pidfd) = self.pidfd()
            && !wait_readable(pidfd.as_fd(), within)
        {
            return None;
        }
        self.last_exit()
    }

    /// Ends it for good: SIGTERM, `grace` to comply, then SIGKILL for it and its group. It stays
    /// ended whatever its policy. Returns how it ended.
    pub fn stop(&self, grace: Duration) -> Result<Option<Exit>, ProcessError> {
        let running = {
            let mut state = self.shared.lock();
            state.wanted = false;
            self.shared.changed.notify_all();
            self.shared.reap(&mut state);
            let Some(running) = state.running.clone() else { return Ok(state.exit) };
            let group = pid_of(running.pid);
            // A frozen process only sees the signal once it goes on.
            for signal in [Signal::SIGTERM, Signal::SIGCONT] {
                match killpg(group, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(self.shared.signal_error(running.pid, errno)),
                }
            }
            running
        };
        if !wait_readable(running.pidfd.as_fd(), grace) {
            match self.kill() {
                Ok(()) | Err(ProcessError::NotRunning { .. }) => {}
                Err(error) => return Err(error),
            }
            if !wait_readable(running.pidfd.as_fd(), KILL_WITHIN) {
                return Err(ProcessError::Unkillable {
                    name: self.name().into(),
                    pid: running.pid,
                    within: KILL_WITHIN,
                });
            }
        }
        Ok(self.last_exit())
    }

    /// Starts it again after [`Self::stop`] or an end of its own; does nothing if it runs.
    pub fn start_again(&self) -> Result<(), ProcessError> {
        let mut state = self.shared.lock();
        self.shared.reap(&mut state);
        if state.running.is_some() {
            return Ok(());
        }
        self.shared.launch(&mut state)?;
        state.restarts += 1;
        Ok(())
    }

    /// [`Self::stop`], then [`Self::start_again`].
    pub fn restart(&self, grace: Duration) -> Result<(), ProcessError> {
        self.stop(grace)?;
        self.start_again()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.wanted = false;
            state.closing = true;
            self.shared.changed.notify_all();
        }
        // An error here means that it hangs in the kernel; there is nobody left to tell.
        let _ = self.stop(Duration::ZERO);
        // The watcher of a process that hangs in the kernel would never end.
        let ended = self.shared.lock().running.is_none();
        if ended && let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self, state: &mut State) -> Result<(), ProcessError> {
        let log = open_log(&self.command.log)?;
        let file = |source| ProcessError::File { path: self.command.log.clone(), source };
        let mut command = Command::new(&self.command.program);
        command
            .args(&self.command.args)
            .envs(self.command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file)?)
            .stderr(log);
        if let Some(directory) = &self.command.directory {
            command.current_dir(directory);
        }
        let child = self.spawner.spawn(command, self.surroundings.as_ref(), true)?;
        let pid = child.id();
        let pidfd = open_pidfd(pid).map_err(|errno| ProcessError::Wait {
            name: self.command.name.clone(),
            pid,
            errno,
        })?;
        state.running = Some(Running { pid, pidfd: Arc::new(pidfd), since: Instant::now() });
        state.wanted = true;
        self.changed.notify_all();
        Ok(())
    }

    /// Notices the end of the process. What is left of its group is killed first, while its
    /// number cannot mean anything else yet.
    fn reap(&self, state: &mut State) {
        let Some(running) = &state.running else { return };
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let look = |flags| waitid(Id::PIDFd(running.pidfd.as_fd()), flags);
        let exit = match look(ended | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal as i32),
            Ok(_) | Err(Errno::EINTR) => return,
            // Somebody else reaped it, so how it ended is lost.
            Err(_) => Exit::Signal(Signal::SIGKILL as i32),
        };
        let _ = killpg(pid_of(running.pid), Signal::SIGKILL);
        let _ = look(ended);
        state.exit = Some(exit);
        state.running = None;
        self.changed.notify_all();
    }

    fn with_running(
        &self,
        act: impl FnOnce(&Running) -> nix::Result<()>,
    ) -> Result<(), ProcessError> {
        let mut state = self.lock();
        self.reap(&mut state);
        let Some(running) = &state.running else {
            let name = self.command.name.clone();
            return Err(ProcessError::NotRunning { name, exit: state.exit });
        };
        act(running).map_err(|errno| self.signal_error(running.pid, errno))
    }

    fn signal_group(&self, signal: Signal) -> Result<(), ProcessError> {
        self.with_running(|running| killpg(pid_of(running.pid), signal))
    }

    fn signal_error(&self, pid: u32, errno: Errno) -> ProcessError {
        ProcessError::Signal { name: self.command.name.clone(), pid, errno }
    }

    /// Restarts the process by its policy until it is closed.
    fn watch(&self) {
        let mut pause = RESTART_AFTER;
        let mut state = self.lock();
        loop {
            if state.closing {
                return;
            }
            let Some(running) = state.running.clone() else {
                let due = state.wanted && state.exit.is_some_and(|exit| self.policy.wants(exit));
                if !due {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let wait = self
                    .changed
                    .wait_timeout_while(state, pause, |state| !state.closing && state.wanted)
                    .unwrap_or_else(PoisonError::into_inner);
                state = wait.0;
                pause = (pause * 2).min(RESTART_AT_MOST);
                // A program that cannot be started now may be there again next time.
                if state.wanted && state.running.is_none() && self.launch(&mut state).is_ok() {
                    state.restarts += 1;
                }
                continue;
            };
            drop(state);
            wait_readable(running.pidfd.as_fd(), Duration::from_hours(1));
            if running.since.elapsed() >= PROVEN_AFTER {
                pause = RESTART_AFTER;
            }
            state = self.lock();
            self.reap(&mut state);
        }
    }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

pub(super) fn open_pidfd(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).ok_or(Errno::ESRCH)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

fn open_log(path: &Path) -> Result<File, ProcessError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| ProcessError::File { path: path.into(), source })
}
