//! Services that were stopped, killed or paused.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::experiment::Supervised;
use crate::target::{ServiceCall, ServiceError, ServiceState};

/// How long a service may take to run again.
const WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// A service that ran and may not run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceUndo {
    /// Which.
    pub service: Supervised,
    /// What ran besides and is stopped whenever that is, in no order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<Supervised>,
}

impl Undo for ServiceUndo {
    fn describe(&self) -> String {
        format!("{}, which ran before", self.service)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let mut started = Vec::new();
        // One that cannot be started is no reason to leave the others down.
        let mut failed = None;
        for service in std::iter::once(&self.service).chain(&self.along) {
            match run_again(service) {
                Ok(true) => started.push(service.to_string()),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if started.is_empty() => Ok(Undone::Nothing),
            None => {
                let run = if started.len() == 1 { "runs" } else { "run" };
                Ok(Undone::Restored(format!("{} {run} again", started.join(", "))))
            }
        }
    }
}

/// Sees to it that a service runs; false if it did, or is not there any more.
fn run_again(service: &Supervised) -> Result<bool, UndoError> {
    let call = match service.look() {
        Ok(seen) => match seen.state {
            ServiceState::Running => return Ok(false),
            ServiceState::Paused => ServiceCall::Resume,
            // Of two jobs that contradict each other, the later one counts.
            ServiceState::Stopped | ServiceState::Changing => ServiceCall::Start,
        },
        // Somebody removed it; there is nothing to start.
        Err(ServiceError::Unknown { .. }) => return Ok(false),
        Err(error) => return Err(UndoError::new(error)),
    };
    service.ask(call).map_err(UndoError::new)?;
    let until = Instant::now() + WITHIN;
    while service.look().map_err(UndoError::new)?.state != ServiceState::Running {
        if Instant::now() > until {
            let seconds = WITHIN.as_secs();
            let text = format!("{service} does not run {seconds} s after its start");
            return Err(UndoError::new(text));
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}
