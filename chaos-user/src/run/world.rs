//! What the conductor needs from the world, behind traits so that tests can replace it.

use crate::exit::Exit;
use crate::experiment::{Activity, FaultSpec, Observation};
use crate::fault::RuleEvidence;

use super::event::RuleText;
use super::logs::LogFile;

/// The surroundings of a run.
pub trait World: Sync {
    /// Runs a probe or an action that is no fault.
    fn perform(&self, activity: &Activity) -> Observation;

    /// What a fault will do, rule by rule. Touches nothing.
    fn explain(&self, name: &str, fault: &FaultSpec) -> Result<Vec<RuleText>, Trouble>;

    /// Injects a fault; returns once it is active.
    fn inject<'a>(
        &'a self,
        name: &str,
        fault: &FaultSpec,
    ) -> Result<Box<dyn ActiveFault + 'a>, Trouble>;

    /// The logs that the target writes.
    fn logs(&self) -> Vec<LogFile> {
        Vec::new()
    }

    /// The nodes and their addresses.
    fn nodes(&self) -> Vec<(String, Vec<String>)>;
}

/// A fault in force. Dropping it heals it too.
pub trait ActiveFault {
    /// Takes it back, and says what it did.
    fn heal(self: Box<Self>) -> Result<(Vec<RuleEvidence>, Vec<String>), Trouble>;
}

/// Why the tool could not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// What was attempted, and why it failed.
    pub text: String,
    /// The exit code that fits.
    pub exit: Exit,
}

impl Trouble {
    /// An error of the tool's own.
    pub fn tool(error: &dyn std::error::Error) -> Self {
        Self::new(error, Exit::ToolFailed)
    }

    /// An error and the exit code that fits it.
    pub fn new(error: &dyn std::error::Error, exit: Exit) -> Self {
        Self { text: error.to_string(), exit }
    }
}
