//! Services that something else supervises: systemd units and containers.

mod ask;
mod container;
mod container_log;
mod error;
mod log_stream;
mod unit;

use serde_json::Value;

pub use container_log::ContainerLog;
pub use error::ServiceError;

use crate::experiment::Supervised;

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It is about to run, or to end.
    Changing,
    /// It does not run.
    Stopped,
}

/// What is asked of a service's supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceCall {
    /// To start it.
    Start,
    /// To end it as on any day.
    Stop,
    /// To send SIGKILL to all its processes.
    Kill,
    /// To freeze it.
    Pause,
    /// To let it go on.
    Resume,
    /// To end it and start it again.
    Restart,
}

/// What is known of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceView {
    /// What it does.
    pub state: ServiceState,
    /// Its main process.
    pub pid: Option<u32>,
    /// Something that is another one each time it is started, if its supervisor has it.
    pub started: Option<String>,
    /// Everything, for probes.
    pub output: Value,
    /// Its full id, which shows in the cgroups of its processes.
    pub id: String,
}

impl Supervised {
    /// Looks at it.
    pub fn look(&self) -> Result<ServiceView, ServiceError> {
        match self {
            Self::Unit { name } => unit::look(name),
            Self::Container { name, socket } => container::look(name, socket),
        }
    }

    /// What runs and is stopped by its supervisor whenever this is.
    pub fn stopped_with(&self) -> Result<Vec<Self>, ServiceError> {
        match self {
            Self::Unit { name } => {
                let units = unit::stopped_with(name)?;
                Ok(units.into_iter().map(|name| Self::Unit { name }).collect())
            }
            Self::Container { .. } => Ok(Vec::new()),
        }
    }

    /// Asks its supervisor for something. Returns once that was accepted; [`Self::look`] tells
    /// whether it is done.
    pub fn ask(&self, call: ServiceCall) -> Result<(), ServiceError> {
        match self {
            Self::Unit { name } => unit::ask(name, call),
            Self::Container { name, socket } => container::ask(name, socket, call),
        }
    }
}
