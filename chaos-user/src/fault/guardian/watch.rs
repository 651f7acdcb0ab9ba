//! The guardian's side.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use rustix::process::{Signal, pidfd_send_signal};

use super::{OVER, READY, SILENT_FOR, STOPPED_FOR};
use crate::exit::Exit;
use crate::fault::journal::{RunState, note, runs};
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

/// Guards a run: the socket to the controller is standard input, the journal, with its lock, is
/// standard output.
pub fn guard(run: &str, controller: ProcessId) -> Exit {
    withdraw();
    let fate = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => watch(&UnixStream::from(socket), controller),
        Err(_) => return Exit::ToolFailed,
    };
    let why = match fate {
        Fate::Over => return Exit::Pass,
        Fate::Died => "died",
        Fate::Stopped => "was stopped (SIGSTOP), which counts as dead, and was killed",
        Fate::Silent => "gave no sign of life, which counts as dead, and was killed",
    };
    let began = Instant::now();
    let (undone, left) = heal(run);
    let what = match undone.as_slice() {
        [] => "nothing had to be put back".to_owned(),
        undone => format!("put back {}", undone.join(", ")),
    };
    let text = format!(
        "run {run}: its controller (process {}) {why}; {what} within {} ms",
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
        && let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null")
    {
        let _ = nix::unistd::dup2_stderr(&nowhere);
    }
}

fn watch(mut socket: &UnixStream, controller: ProcessId) -> Fate {
    let pidfd = controller.open();
    if socket.write_all(&[READY]).is_err() || socket.set_nonblocking(true).is_err() {
        return Fate::Died;
    }
    // It died before it could be watched, or it is over already: the socket knows.
    let Some(pidfd) = pidfd else {
        return if said_over(socket) { Fate::Over } else { Fate::Died };
    };
    let mut connected = true;
    let mut last_beat = Instant::now();
    loop {
        let mut ready = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if connected {
            ready.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut ready, PollTimeout::from(LOOK_EVERY));
        let mut bytes = [0; 64];
        match socket.read(&mut bytes) {
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
            return if said_over(socket) { Fate::Over } else { Fate::Died };
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
        return fate;
    }
}

/// Reads the rest of what a dead controller said.
fn said_over(mut socket: &UnixStream) -> bool {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        if bytes[..count].contains(&OVER) {
            return true;
        }
    }
    false
}

fn kill(pidfd: BorrowedFd<'_>) {
    // An error means that it is gone.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    wait_readable(pidfd, GONE_WITHIN);
}

/// Undoes what the run left; says what was put back and what could not be.
fn heal(run: &str) -> (Vec<String>, Vec<String>) {
    let mut undone = Vec::new();
    let mut left = Vec::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let state = match find(run) {
            Ok(Some(state)) => state,
            Ok(None) => return (undone, Vec::new()),
            Err(error) => {
                left = vec![error];
                continue;
            }
        };
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
    (undone, left)
}

fn find(run: &str) -> Result<Option<RunState>, String> {
    let mut all = runs().map_err(|error| error.to_string())?;
    let at = all.iter().position(|state| state.name == run);
    Ok(at.map(|at| all.swap_remove(at)))
}
