//! The process that holds a lab of `chaos lab up`, and how it is started.
//!
//! It is this program again, in a session of its own. It answers once, on its standard output,
//! and then waits for SIGTERM. Killed in any way, it takes the lab with it: the namespaces are
//! held by its descriptors and the processes by its PID namespace.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::{Deserialize, Serialize};

use super::error::LabError;
use super::record::LabRecord;
use super::registry::{Registry, RegistryError};
use super::running::{Lab, LabOptions};
use super::spec::LabSpec;
use super::spec_error::SpecError;
use crate::kernel::netns::NetNsError;
use crate::target::{Detached, ProcessError, start_detached, wait_readable};

/// How often the record of the processes is brought up to date.
const REFRESH: Duration = Duration::from_millis(250);

/// How often an interruption is looked for while the lab comes up.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long an interrupted supervisor may take to take its lab down before it is killed.
const END_WITHIN: Duration = Duration::from_secs(8);

/// What the supervisor answers: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The lab is up.
    Up,
    /// It is not.
    Failed {
        /// Why.
        error: String,
        /// What kind of failure that is.
        kind: FailureKind,
        /// Whether what came up was kept.
        kept: bool,
    },
}

/// Kinds of failure that an exit code tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The file or the command line is wrong.
    Usage,
    /// This host, or this user, cannot do it.
    Host,
    /// Anything else.
    Tool,
}

/// Why a supervisor could not hold a lab.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The file is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The name is taken, or its folder cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The lab did not come up.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The supervisor itself could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its signals could not be set up.
    #[error("cannot set up the supervisor: {0}")]
    SetUp(#[source] io::Error),
    /// It ended without an answer.
    #[error("the supervisor of the lab ended without an answer; its log may say why")]
    NoAnswer,
    /// Its answer is not understood.
    #[error("the supervisor of the lab gave an unknown answer: {0}")]
    BadAnswer(#[source] serde_json::Error),
}

impl SupervisorError {
    /// What kind of failure this is.
    pub fn kind(&self) -> FailureKind {
        use nix::errno::Errno::{EINVAL, ENOSYS, EPERM};
        match self {
            Self::Spec(_)
            | Self::Registry(RegistryError::AlreadyUp { .. })
            | Self::Lab(LabError::Process(
                ProcessError::NotFound { .. } | ProcessError::NotExecutable { .. },
            )) => FailureKind::Usage,
            Self::Lab(
                LabError::NoIpv6 { .. }
                | LabError::NetNs(NetNsError::Create { errno: EPERM | EINVAL | ENOSYS })
                | LabError::Process(ProcessError::Contain { errno: EPERM | EINVAL | ENOSYS, .. }),
            ) => FailureKind::Host,
            _ => FailureKind::Tool,
        }
    }
}

/// Where a lab comes from and what it is called.
#[derive(Debug, Clone)]
pub struct Order {
    /// The lab file.
    pub file: PathBuf,
    /// A name to use instead of the one in the file.
    pub name: Option<String>,
    /// Whether a lab that fails to come up stays as far as it came.
    pub keep: bool,
}

impl Order {
    /// The specification that the file gives.
    pub fn spec(&self) -> Result<LabSpec, SpecError> {
        let spec = LabSpec::read(&self.file)?;
        match &self.name {
            Some(name) => spec.renamed(name),
            None => Ok(spec),
        }
    }
}

/// Starts a supervisor with these arguments for this program.
pub fn start(arguments: &[&std::ffi::OsStr]) -> Result<Detached, SupervisorError> {
    Ok(start_detached(arguments)?)
}

/// Waits for the supervisor's answer. When `interrupt` becomes readable first, the supervisor is
/// ended, and with it whatever it made; then the answer is `None`.
pub fn answer(
    supervisor: &mut Detached,
    interrupt: &impl AsFd,
) -> Result<Option<Answer>, SupervisorError> {
    while !wait_readable(supervisor.output().as_fd(), LOOK_EVERY) {
        if wait_readable(interrupt.as_fd(), Duration::ZERO) {
            supervisor.end(END_WITHIN);
            return Ok(None);
        }
    }
    let mut text = String::new();
    supervisor.output().read_to_string(&mut text).map_err(SupervisorError::SetUp)?;
    if text.is_empty() {
        return Err(SupervisorError::NoAnswer);
    }
    serde_json::from_str(&text).map(Some).map_err(SupervisorError::BadAnswer)
}

/// Is the supervisor: brings the lab up, answers, and holds it until a signal or its end.
pub fn supervise(order: &Order) -> Result<(), SupervisorError> {
    let result = hold(order);
    if let Err(error) = &result {
        // If there was an answer already, nobody listens any more.
        let failed = Answer::Failed { error: error.to_string(), kind: error.kind(), kept: false };
        let _ = tell(&failed);
    }
    result
}

fn hold(order: &Order) -> Result<(), SupervisorError> {
    let set_up = |errno: nix::Error| SupervisorError::SetUp(errno.into());
    // Fails only for the leader of a process group, which has what it wants already.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let _ = nix::sys::prctl::set_name(c"chaos-lab");
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        ends.add(signal);
    }
    // Before any thread exists, so that every thread inherits it.
    ends.thread_block().map_err(set_up)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let ends = SignalFd::with_flags(&ends, flags).map_err(set_up)?;

    let spec = order.spec()?;
    let claim = Registry::of_host().claim(spec.name())?;
    let log = claim.folder().join("supervisor.log");
    let log = File::create(log).map_err(SupervisorError::SetUp)?;
    nix::unistd::dup2_stderr(&log).map_err(set_up)?;
    let mut options = LabOptions::new(claim.folder().join("files"));
    options.base = order.file.parent().unwrap_or(Path::new("/")).into();

    let (lab, failure) = Lab::up_keeping(&spec, options, &mut |_| {
        if wait_readable(ends.as_fd(), Duration::ZERO) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    // From here on `lab` goes before `claim`: it was made later.
    let failure = match failure {
        Some(error) if !order.keep => return Err(error.into()),
        other => other.map(SupervisorError::from),
    };
    let reason = failure.as_ref().map(ToString::to_string);
    let mut record = LabRecord::of(&lab, reason.clone());
    claim.publish(&record)?;
    let answer = match &failure {
        None => Answer::Up,
        Some(error) => Answer::Failed { error: error.to_string(), kind: error.kind(), kept: true },
    };
    // Whoever asked for the lab and is gone now will not take it down either.
    tell(&answer).map_err(SupervisorError::SetUp)?;
    while !wait_readable(ends.as_fd(), REFRESH) {
        let now = LabRecord::of(&lab, reason.clone());
        if now != record {
            claim.publish(&now)?;
            record = now;
        }
    }
    drop(lab);
    drop(claim);
    Ok(())
}

/// Writes the answer and closes the standard output, which is how the listener knows its end.
fn tell(answer: &Answer) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, answer)?;
    stdout.write_all(b"\n")?;
    stdout.flush()?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&nowhere)?;
    Ok(())
}
