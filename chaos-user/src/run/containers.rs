//! What containers write while a run goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::logs::LogFile;
use super::world::Trouble;
use crate::exit::Exit;
use crate::experiment::{Experiment, LogCall, LogSource, Provider, Variables};
use crate::target::ContainerLog;

/// How long a look may wait for what was written before it.
const LOOK: Duration = Duration::from_secs(5);
/// How long the beginning of a phase may. It must not keep a fault from being healed.
const PHASE: Duration = Duration::from_millis(500);

/// The logs of the containers that an experiment is about.
#[derive(Debug, Default)]
pub(super) struct ContainerLogs {
    all: Vec<ContainerLog>,
    /// Those of them that probes look at.
    probed: usize,
}

impl ContainerLogs {
    /// Begins to follow what its probes look at, and the container of its target.
    pub(super) fn of(experiment: &Experiment, variables: &Variables) -> Result<Self, Trouble> {
        let mut logs = Self::default();
        for activity in experiment.activities() {
            let Provider::Log(LogCall { source, .. }) = &activity.provider else { continue };
            if let LogSource::Container { name, socket } = source {
                logs.follow(name, &socket.to_string_lossy(), variables)?;
            }
        }
        logs.probed = logs.all.len();
        if let Some((name, socket)) = experiment.container() {
            logs.follow(name, socket, variables)?;
        }
        Ok(logs)
    }

    fn follow(&mut self, name: &str, socket: &str, variables: &Variables) -> Result<(), Trouble> {
        let (name, socket) = (variables.fill_text(name), variables.fill_text(socket));
        let socket = Path::new(&socket);
        if self.find(&name, socket).is_none() {
            let log = ContainerLog::follow(&name, socket).map_err(|error| Trouble {
                text: format!("prepare to follow the log of the container `{name}`: {error}"),
                exit: Exit::ToolFailed,
            })?;
            self.all.push(log);
        }
        Ok(())
    }

    fn find(&self, name: &str, socket: &Path) -> Option<&ContainerLog> {
        self.all.iter().find(|log| log.name() == name && log.socket() == socket)
    }

    /// Where they are.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().map(ContainerLog::path)
    }

    /// Those that are quoted around failures.
    pub(super) fn quoted(&self) -> impl Iterator<Item = LogFile> {
        self.all.iter().map(|log| LogFile {
            source: format!("container {}", log.name()),
            path: log.path().to_owned(),
        })
    }

    /// Where all is that a container wrote until now.
    pub(super) fn log(&self, name: &str, socket: &Path) -> Result<PathBuf, String> {
        let log = self.find(name, socket);
        let log = log.ok_or_else(|| format!("the log of `{name}` is not followed"))?;
        log.catch_up(LOOK).map_err(|error| error.to_string())?;
        Ok(log.path().to_owned())
    }

    /// What was written until now belongs to the phase that ends. What an engine has not told by
    /// then counts in the next one.
    pub(super) fn begin_phase(&self) {
        for log in self.all.iter().take(self.probed) {
            let _ = log.catch_up(PHASE);
        }
    }
}
