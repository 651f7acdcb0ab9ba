//! Services stopped, killed, paused or restarted through their supervisor.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::RuleEvidence;
use super::journal::{Entry, Journal, JournalError, Record};
use super::lockout::{LockedOut, check_processes};
use super::undo::{ServiceUndo, UndoError};
use crate::exit::Exit;
use crate::experiment::{ProcessAct, Supervised};
use crate::host::Cgroups;
use crate::target::{ServiceCall, ServiceError, ServiceState, ServiceView};

/// How long a service may take to do what was asked.
const WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Why a fault of a service was not injected.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFaultError {
    /// It would end this tool.
    #[error("{service} is not touched: this tool runs in it")]
    Own {
        /// Which.
        service: Supervised,
    },
    /// It would cut the operator off.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
    /// It could not be started again.
    #[error("{service} is not touched: starting it again takes the system bus, which it carries")]
    Bus {
        /// Which.
        service: Supervised,
    },
    /// It could not be looked at, or its supervisor refused.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// It does not do what was asked.
    #[error("{service} did not {act} within {} s", WITHIN.as_secs())]
    Slow {
        /// Which.
        service: Supervised,
        /// What was asked.
        act: ProcessAct,
    },
    /// Without an undo record on disk nothing is touched.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ServiceFaultError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Own { .. } | Self::LockedOut(_) | Self::Bus { .. } => Exit::Usage,
            Self::Service(error) => error.exit(),
            Self::Slow { .. } | Self::Journal(_) => Exit::ToolFailed,
        }
    }
}

/// A service that is stopped, killed, paused, or was restarted. Dropping it starts it again.
#[derive(Debug)]
pub struct ActiveService {
    entry: Option<Entry>,
    /// Whether it could be done: it ran before, or, to be started, did not.
    ran: bool,
    acted: bool,
}

impl ActiveService {
    /// Does it, and reads back that it is done. A service that does not run is left alone.
    pub fn start(
        journal: &Journal,
        service: &Supervised,
        act: ProcessAct,
    ) -> Result<Self, ServiceFaultError> {
        let before = service.look()?;
        check(service, &before)?;
        if act == ProcessAct::Start {
            return Self::started(service, &before);
        }
        if before.state != ServiceState::Running {
            return Ok(Self { entry: None, ran: false, acted: false });
        }
        let along = match act {
            ProcessAct::Pause | ProcessAct::Start => Vec::new(),
            ProcessAct::Stop | ProcessAct::Kill | ProcessAct::Restart => service.stopped_with()?,
        };
        for one in &along {
            check(one, &one.look()?)?;
        }
        let undo = ServiceUndo { service: service.clone(), along };
        let entry = journal.append(Record::Service(undo))?;
        // From here on every way out undoes it.
        let mut active = Self { entry: Some(entry), ran: true, acted: false };
        service.ask(match act {
            ProcessAct::Stop => ServiceCall::Stop,
            ProcessAct::Kill => ServiceCall::Kill,
            ProcessAct::Pause => ServiceCall::Pause,
            ProcessAct::Restart => ServiceCall::Restart,
            ProcessAct::Start => ServiceCall::Start,
        })?;
        await_done(service, act, &before)?;
        active.acted = true;
        Ok(active)
    }

    /// Starts what does not run. It is to go on running, so there is nothing to undo.
    fn started(service: &Supervised, before: &ServiceView) -> Result<Self, ServiceFaultError> {
        let runs = before.state == ServiceState::Running;
        if !runs {
            let paused = before.state == ServiceState::Paused;
            service.ask(if paused { ServiceCall::Resume } else { ServiceCall::Start })?;
            await_done(service, ProcessAct::Start, before)?;
        }
        Ok(Self { entry: None, ran: !runs, acted: !runs })
    }

    /// Makes it run again if it ran before.
    pub fn heal(mut self) -> Result<(), UndoError> {
        match self.entry.take() {
            Some(entry) => entry.undo().map(drop),
            None => Ok(()),
        }
    }

    /// Proof of what was done.
    pub fn evidence(&self, rule: &str) -> RuleEvidence {
        let (matched, acted) = (u64::from(self.ran), u64::from(self.acted));
        RuleEvidence { rule: rule.to_owned(), seen: 1, matched, acted, bytes: 0 }
    }
}

impl Drop for ActiveService {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // What cannot be undone stays in the journal for `chaos heal`.
            let _ = entry.undo();
        }
    }
}

/// Waits until what was asked for can be seen.
fn await_done(
    service: &Supervised,
    act: ProcessAct,
    before: &ServiceView,
) -> Result<(), ServiceFaultError> {
    let until = Instant::now() + WITHIN;
    while !is_done(act, before, &service.look()?) {
        if Instant::now() > until {
            return Err(ServiceFaultError::Slow { service: service.clone(), act });
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether what was asked for can be seen.
fn is_done(act: ProcessAct, before: &ServiceView, now: &ServiceView) -> bool {
    match act {
        ProcessAct::Stop => now.state == ServiceState::Stopped,
        ProcessAct::Pause => now.state == ServiceState::Paused,
        // Its supervisor may have started it again by now.
        ProcessAct::Kill => now.state == ServiceState::Stopped || is_another(before, now),
        ProcessAct::Restart => now.state == ServiceState::Running && is_another(before, now),
        ProcessAct::Start => now.state == ServiceState::Running,
    }
}

/// Whether it was started again, or its main process is gone.
fn is_another(before: &ServiceView, now: &ServiceView) -> bool {
    now.pid != before.pid || now.started != before.started
}

/// The units that carry the system bus.
const BUS: [&str; 4] =
    ["dbus.service", "dbus.socket", "dbus-broker.service", "dbus-daemon.service"];

/// Refuses what this tool runs in, and what it needs to undo it.
fn check(service: &Supervised, seen: &ServiceView) -> Result<(), ServiceFaultError> {
    // The cgroups of a unit's processes have its name, those of a container's have its id in theirs.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let id = seen.id.as_str();
    let named = |part: &str| part == id || part.trim_end_matches(".scope").ends_with(id);
    if !seen.id.is_empty() && own.split(['/', '\n']).any(named) {
        return Err(ServiceFaultError::Own { service: service.clone() });
    }
    if matches!(service, Supervised::Unit { .. }) {
        if BUS.contains(&id) {
            return Err(ServiceFaultError::Bus { service: service.clone() });
        }
        // Such as the daemon of the session that this tool was started from.
        let processes = Cgroups::find()
            .and_then(|all| all.processes(&all.by_unit(id)?.path))
            .unwrap_or_default();
        check_processes(&service.to_string(), &processes)?;
    }
    let main: Vec<u32> = seen.pid.into_iter().collect();
    Ok(check_processes(&service.to_string(), &main)?)
}
