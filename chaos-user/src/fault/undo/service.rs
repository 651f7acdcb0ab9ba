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
}

impl Undo for ServiceUndo {
    fn describe(&self) -> String {
        format!("{}, which ran before", self.service)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let call = match self.service.look() {
            Ok(seen) => match seen.state {
                ServiceState::Running => return Ok(Undone::Nothing),
                ServiceState::Paused => ServiceCall::Resume,
                ServiceState::Stopped => ServiceCall::Start,
            },
            // Somebody removed it; there is nothing to start.
            Err(ServiceError::Unknown { .. }) => return Ok(Undone::Nothing),
            Err(error) => return Err(UndoError::new(error)),
        };
        self.service.ask(call).map_err(UndoError::new)?;
        let until = Instant::now() + WITHIN;
        while self.service.look().map_err(UndoError::new)?.state != ServiceState::Running {
            if Instant::now() > until {
                let seconds = WITHIN.as_secs();
                return Err(UndoError::new(format!("it does not run {seconds} s after its start")));
            }
            thread::sleep(PAUSE);
        }
        Ok(Undone::Restored(format!("{} runs again", self.service)))
    }
}
