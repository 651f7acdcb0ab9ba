//! Commands that run once and are waited for.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::exit::Exit;
use super::process::open_pidfd;
use super::process_error::ProcessError;
use super::sandbox::Surroundings;
use super::spawner::{Spawner, wait_readable};

/// How long the streams of a dead command may stay open, held by something it left behind.
const DRAIN_WITHIN: Duration = Duration::from_millis(500);

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended; SIGKILL if its time was up.
    pub exit: Exit,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// Its output, the first MiB of it.
    pub stdout: Vec<u8>,
    /// Its errors, the first MiB of them.
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    /// The most that is kept of each of the two streams, in bytes.
    pub const MOST: usize = 1 << 20;
}

/// Runs a command in a session of its own, without input, for at most `within`.
pub fn exec(
    program: &Path,
    args: &[OsString],
    surroundings: Option<&Surroundings>,
    spawner: &Spawner,
    within: Duration,
) -> Result<ExecOutput, ProcessError> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = |source| ProcessError::Start { program: program.into(), source };
    let deadline = Instant::now() + within;
    let mut child = spawner.spawn(command, surroundings, true)?;
    let pid = child.id();
    let wait = |errno| ProcessError::Wait { name: program.display().to_string(), pid, errno };
    let stdout = child.stdout.take().map(read_all).transpose().map_err(start)?;
    let stderr = child.stderr.take().map(read_all).transpose().map_err(start)?;
    let pidfd = open_pidfd(pid).map_err(wait)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let timed_out = !wait_readable(pidfd.as_fd(), left);
    // Not reaped yet, so the number still means this group. Whoever stayed behind in it would
    // hold the streams open.
    let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    let status = child.wait().map_err(|error| wait(errno_of(&error)))?;
    Ok(ExecOutput {
        exit: status.into(),
        timed_out,
        stdout: stdout.map(Stream::take).unwrap_or_default(),
        stderr: stderr.map(Stream::take).unwrap_or_default(),
    })
}

/// Runs a command on the terminal of this process, in its session, and waits for its end.
pub fn exec_attached(
    program: &Path,
    args: &[OsString],
    surroundings: Option<&Surroundings>,
    spawner: &Spawner,
) -> Result<Exit, ProcessError> {
    let mut command = Command::new(program);
    command.args(args);
    let mut child = spawner.spawn(command, surroundings, false)?;
    let pid = child.id();
    let status = child.wait().map_err(|error| ProcessError::Wait {
        name: program.display().to_string(),
        pid,
        errno: errno_of(&error),
    })?;
    Ok(status.into())
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// What a thread reads from a stream, so that the command never blocks on a full pipe.
struct Stream {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Stream {
    fn take(self) -> Vec<u8> {
        // Something that left the command's group may hold the stream open for ever.
        let _ = self.ended.recv_timeout(DRAIN_WITHIN);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> io::Result<Stream> {
    let (done, ended) = channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&kept);
    thread::Builder::new().name("reader".into()).spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
            let room = ExecOutput::MOST.saturating_sub(into.len());
            into.extend_from_slice(&chunk[..count.min(room)]);
        }
        let _ = done.send(());
    })?;
    Ok(Stream { kept, ended })
}
