//! What the conductor needs from the world, behind traits so that tests can replace it.

use crate::exit::Exit;
use crate::experiment::{Activity, FaultSpec, Observation};
use crate::fault::{MeasuredDelay, RuleEvidence};
use crate::workload::Operation;

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
    /// Another fault has become active.
    fn began(&mut self, _fault: &str) {}

    /// Whether it has ended by itself before its time was up.
    fn over(&self) -> bool {
        false
    }

    /// What its clients did since this was last asked, timed from when it was injected.
    fn operations(&mut self) -> Vec<Operation> {
        Vec::new()
    }

    /// Ends its clients and says what they came to, if it has any.
    fn outcome(&mut self) -> Option<Outcome> {
        None
    }

    /// Takes it back, and says what it did.
    fn heal(self: Box<Self>) -> Result<Proof, Trouble>;
}

/// What a fault did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// What its rules did.
    pub evidence: Vec<RuleEvidence>,
    /// Who held packets, in words.
    pub held_by: Vec<String>,
    /// How long packets were held, by rule.
    pub delays: Vec<MeasuredDelay>,
    /// What is worth a warning.
    pub remarks: Vec<String>,
}

impl From<(Vec<RuleEvidence>, Vec<String>)> for Proof {
    fn from((evidence, remarks): (Vec<RuleEvidence>, Vec<String>)) -> Self {
        Self { evidence, remarks, ..Self::default() }
    }
}

/// What the clients of a workload came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the tolerance looks at.
    pub seen: Observation,
    /// What they did since it was last asked.
    pub operations: Vec<Operation>,
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
