//! The guardian's side.

use std::fs::File;
use std::io::{self, IoSliceMut, IsTerminal as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, pidfd_send_signal};

use super::{OVER, READY, SILENT_FOR, STOPPED_FOR};
use crate::exit::Exit;
use crate::fault::journal::{note, run_of, sweep_drafts};
use crate::fault::recover::replay;
use crate::host::ProcessId;
use crate::target::wait_readable;

/// How long a killed controller may take to be gone: it may hang in the kernel.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often undoing is tried, and the pause between: a device may just be going away.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked at whether the controller still gives signs of life.
const LOOK_EVERY: u16 = 100;

/// Why the controller does not put things back itself.
enum Fate {
    Over,
    Died,
    Stopped,
    Silent,
}

/// Guards a run: the socket to the controller is standard input, and the journal, with its lock, comes
/// through it.
pub fn guard(controller: ProcessId) -> Exit {
    withdraw();
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return Exit::ToolFailed };
    let mut watch = Watch { socket: socket.into(), journal: None };
    let why = match watch.await_fate(controller) {
        Fate::Over => return Exit::Pass,
        Fate::Died => "died",
        Fate::Stopped => "was stopped (SIGSTOP), which counts as dead, and was killed",
        Fate::Silent => "gave no sign of life, which counts as dead, and was killed",
    };
    let began = Instant::now();
    let (run, undone, left) = heal(watch.journal.as_ref());
    // Only now: a draft that it was about to name would have been its journal.
    if let Err(error) = sweep_drafts(controller) {
        note(&format!("drafts of journals of process {} are left: {error}", controller.pid));
    }
    if run.is_none() && left.is_empty() {
        // It died before there was anything to put back.
        return Exit::Pass;
    }
    let run = run.map_or_else(|| "a run".to_owned(), |run| format!("run {run}"));
    let what = match undone.as_slice() {
        [] => "nothing had to be put back".to_owned(),
        undone => format!("put back {}", undone.join(", ")),
    };
    let text = format!(
        "{run}: its controller (process {}) {why}; {what} within {} ms",
        controller.pid,
        began.elapsed().as_millis()
    );
    let left_over =
        left.iter().map(|left| format!("; could not put back {left}; run `chaos heal`"));
    let text: String = std::iter::once(text).chain(left_over).collect();
    note(&text);
    if io::stderr().is_terminal() {
        // Nobody may be there to read it.
        let _ = writeln!(io::stderr(), "chaos: {text}");
    }
    if left.is_empty() { Exit::Pass } else { Exit::NotHealed }
}

/// Leaves the session, the signals, the folder and the sight of the out-of-memory killer.
fn withdraw() {
    // Each of these may be refused, and none is worth giving up for.
    let _ = SigSet::all().thread_block();
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let _ = nix::sys::prctl::set_name(c"chaos-guardian");
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    // A pipe that this holds open would keep its reader waiting.
    if !io::stderr().is_terminal()
        && let Ok(nowhere) = File::options().write(true).open("/dev/null")
    {
        let _ = nix::unistd::dup2_stderr(&nowhere);
    }
}

struct Watch {
    socket: UnixStream,
    /// The journal, once it was handed over; holding it holds its lock.
    journal: Option<File>,
}

impl Watch {
    fn await_fate(&mut self, controller: ProcessId) -> Fate {
        let pidfd = controller.open();
        let ready = (&self.socket).write_all(&[READY]);
        if ready.is_err() || self.socket.set_nonblocking(true).is_err() {
            return Fate::Died;
        }
        // It died before it could be watched, or it is over already: the socket knows.
        let Some(pidfd) = pidfd else {
            return if self.said_over() { Fate::Over } else { Fate::Died };
        };
        let mut connected = true;
        let mut last_beat = Instant::now();
        loop {
            let mut ready = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            if connected {
                ready.push(PollFd::new(self.socket.as_fd(), PollFlags::POLLIN));
            }
            let _ = poll(&mut ready, PollTimeout::from(LOOK_EVERY));
            let mut bytes = [0; 64];
            match self.receive(&mut bytes) {
                Ok(0) => connected = false,
                Ok(count) if bytes[..count].contains(&OVER) => return Fate::Over,
                Ok(_) => {
                    last_beat = Instant::now();
                    // What it said last counts, and may still be to come.
                    continue;
                }
                Err(_) => {}
            }
            if wait_readable(pidfd.as_fd(), Duration::ZERO) {
                return if self.said_over() { Fate::Over } else { Fate::Died };
            }
            let silent = last_beat.elapsed();
            let fate = if silent > STOPPED_FOR && controller.is_stopped() {
                Fate::Stopped
            } else if silent > SILENT_FOR {
                Fate::Silent
            } else {
                continue;
            };
            kill(pidfd.as_fd());
            // What it handed over before it was stopped.
            return if self.said_over() { Fate::Over } else { fate };
        }
    }

    /// Reads what it said, and takes what it handed over.
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut handed = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(bytes)];
        let got = recvmsg(&self.socket, &mut slices, &mut handed, RecvFlags::CMSG_CLOEXEC)?;
        for message in handed.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                self.journal = files.next().map(File::from);
            }
        }
        Ok(got.bytes)
    }

    /// Reads the rest of what a dead controller said.
    fn said_over(&mut self) -> bool {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.receive(&mut bytes) {
            if bytes[..count].contains(&OVER) {
                return true;
            }
        }
        false
    }
}

fn kill(pidfd: BorrowedFd<'_>) {
    // An error means that it is gone.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    wait_readable(pidfd, GONE_WITHIN);
}

/// Undoes what the run left; says which run, what was put back and what could not be.
fn heal(journal: Option<&File>) -> (Option<String>, Vec<String>, Vec<String>) {
    let Some(journal) = journal else { return (None, Vec::new(), Vec::new()) };
    let mut name = None;
    let mut undone = Vec::new();
    let mut left = Vec::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let state = match run_of(journal) {
            Ok(Some(state)) => state,
            // Put back and forgotten, or a draft still, which is about nothing.
            Ok(None) => return (name, undone, Vec::new()),
            Err(error) => {
                left = vec![error.to_string()];
                continue;
            }
        };
        name = Some(state.name.clone());
        let (more, failures) = replay(&state);
        undone.extend(more);
        left = failures;
        left.extend(state.damaged.iter().cloned());
        if left.is_empty() {
            left.extend(state.forget().err().map(|error| error.to_string()));
        }
        if left.is_empty() || !state.damaged.is_empty() {
            break;
        }
    }
    (name, undone, left)
}
