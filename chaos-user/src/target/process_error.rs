//! What can go wrong with a process.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::exit::Exit;

/// Why a process could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program does not exist.
    #[error("cannot find the program {program:?}; looked in {}", list(looked))]
    NotFound {
        /// What was asked for.
        program: String,
        /// The folders that were searched.
        looked: Vec<PathBuf>,
    },
    /// The file exists and cannot be executed.
    #[error("{} is not an executable file", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The surroundings that the process was to see could not be made.
    #[error("cannot start {}: {step} failed: {}{}", program.display(), errno.desc(), needs(*errno))]
    Sandbox {
        /// The program.
        program: PathBuf,
        /// Which part of it.
        step: SandboxStep,
        /// What the kernel said.
        errno: Errno,
    },
    /// A file that the process needs could not be opened.
    #[error("cannot open {} for a process: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Processes cannot be contained in a PID namespace.
    #[error("cannot contain processes: {what} failed: {}{}", errno.desc(), needs(*errno))]
    Contain {
        /// What was attempted.
        what: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The thread that starts processes has ended.
    #[error("processes can no longer be started: their lab has been taken down")]
    SpawnerGone,
    /// The process is not running, so it cannot be told anything.
    #[error("process {name:?} is not running{}", ended(*exit))]
    NotRunning {
        /// The process.
        name: String,
        /// How it ended, if it ever ran.
        exit: Option<Exit>,
    },
    /// A signal could not be sent.
    #[error("cannot signal process {name:?} ({pid}): {}", errno.desc())]
    Signal {
        /// The process.
        name: String,
        /// Its id.
        pid: u32,
        /// What the kernel said.
        errno: Errno,
    },
    /// It was killed and is still there: it hangs in the kernel.
    #[error("process {name:?} ({pid}) did not end within {within:?} of being killed")]
    Unkillable {
        /// The process.
        name: String,
        /// Its id.
        pid: u32,
        /// How long was waited.
        within: Duration,
    },
    /// Waiting failed.
    #[error("cannot wait for process {name:?} ({pid}): {}", errno.desc())]
    Wait {
        /// The process.
        name: String,
        /// Its id.
        pid: u32,
        /// What the kernel said.
        errno: Errno,
    },
}

/// What is done between the fork and the program's first instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SandboxStep {
    /// A session of its own.
    Session = 1,
    /// Ending with the thread that started it.
    DeathSignal,
    /// No signal blocked.
    SignalMask,
    /// Entering the network namespace.
    NetNs,
    /// A mount namespace of its own.
    MountNs,
    /// `/proc` of its PID namespace.
    Proc,
    /// `/sys` of its network namespace.
    Sys,
    /// `/etc/hosts` and its like.
    Files,
}

impl SandboxStep {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        use SandboxStep::{DeathSignal, Files, MountNs, NetNs, Proc, Session, SignalMask, Sys};
        [Session, DeathSignal, SignalMask, NetNs, MountNs, Proc, Sys, Files]
            .into_iter()
            .find(|step| *step as u8 == byte)
    }
}

impl fmt::Display for SandboxStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "starting a session",
            Self::DeathSignal => "tying it to this process",
            Self::SignalMask => "unblocking signals",
            Self::NetNs => "entering the network namespace",
            Self::MountNs => "making a mount namespace",
            Self::Proc => "mounting /proc",
            Self::Sys => "mounting /sys",
            Self::Files => "placing /etc/hosts and its like",
        })
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn ended(exit: Option<Exit>) -> String {
    exit.map_or_else(String::new, |exit| format!(" (it ended with {exit})"))
}

fn needs(errno: Errno) -> &'static str {
    if errno == Errno::EPERM { " (this needs CAP_SYS_ADMIN)" } else { "" }
}
