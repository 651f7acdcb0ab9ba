//! Probes and actions.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Place;
use super::provider::{Arguments, HttpCall, ProcessCall, Provider};
use super::tolerance::Tolerance;
use super::units::Span;
use super::variables::literal;

/// One probe or action.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// What results are told apart by.
    pub name: String,
    /// Whether it looks or acts.
    pub kind: Kind,
    /// What it does.
    pub provider: Provider,
    /// What is expected of its outcome; without it any outcome but an error will do.
    pub tolerance: Option<Tolerance>,
    /// The lab node it runs on; `None` is this host.
    pub from: Option<String>,
    /// When its tolerance is expected to hold.
    pub during: Phases,
    /// How long after the beginning of a phase it may take until the tolerance holds.
    pub within: Option<Span>,
    /// Whether its first success under the fault counts as the fault being detected.
    pub detects: bool,
    /// Waits around it.
    pub pauses: Pauses,
    /// Whether the method goes on while it runs.
    pub background: bool,
    /// The number of the group that it goes on in together with others.
    pub group: Option<usize>,
    /// Where it stands in the file.
    pub place: Place,
}

impl Activity {
    /// The same about the outcome of another that runs there: its argument `value` is that outcome.
    #[must_use]
    pub fn about(&self, outcome: &Value, from: Option<&str>) -> Self {
        let mut asked = Self { from: from.map(ToOwned::to_owned), ..self.clone() };
        // What came from outside refers to no variables.
        let (name, value) = ("value".to_owned(), literal(outcome));
        match &mut asked.provider {
            Provider::Http(HttpCall { arguments: Some(Value::Object(map)), .. }) => {
                map.insert(name, value);
            }
            Provider::Http(call) => call.arguments = Some([(name, value)].into_iter().collect()),
            Provider::Process(ProcessCall { arguments: Arguments::Map(map), .. }) => {
                map.insert(name, value);
            }
            Provider::Process(call) => call.arguments = Arguments::Map([(name, value)].into()),
            _ => {}
        }
        asked
    }
}

/// Whether an activity looks or acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It looks.
    Probe,
    /// It acts.
    Action,
}

/// Waits around an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pauses {
    /// Before it begins.
    pub before: Span,
    /// After it ended.
    pub after: Span,
}

/// A part of a run, seen from its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the first fault.
    Before,
    /// While a fault is active.
    Fault,
    /// After the last fault was healed.
    After,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::Fault => "fault",
            Self::After => "after",
        })
    }
}

/// The phases in which something is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Before the first fault.
    pub before: bool,
    /// While a fault is active.
    pub fault: bool,
    /// After the last fault was healed.
    pub after: bool,
}

impl Phases {
    /// Always.
    pub const ALL: Self = Self { before: true, fault: true, after: true };
    /// Never.
    pub const NONE: Self = Self { before: false, fault: false, after: false };

    /// Whether `phase` is among them.
    pub const fn has(self, phase: Phase) -> bool {
        match phase {
            Phase::Before => self.before,
            Phase::Fault => self.fault,
            Phase::After => self.after,
        }
    }

    /// Whether all of `others` are among them.
    pub const fn hold(self, others: Self) -> bool {
        (self.before || !others.before)
            && (self.fault || !others.fault)
            && (self.after || !others.after)
    }
}
