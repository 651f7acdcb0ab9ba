//! What happens in a run, as it is recorded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;
use crate::experiment::{Kind, Percent, Phases, Span};
use crate::fault::{MeasuredDelay, RuleEvidence};
use crate::guard::Clearance;
use crate::workload::Operation;

/// The version of the event log's format. A reader refuses others.
pub const FORMAT: u32 = 1;

/// One line of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the run began, on a clock that never jumps.
    pub at: u64,
    /// The time of day, RFC 3339 in UTC.
    pub wall: String,
    /// What happened.
    pub event: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The run began. Always the first event.
    Began(Box<RunInfo>),
    /// The surroundings are ready: the nodes and their addresses.
    Ready(Vec<(String, Vec<String>)>),
    /// The guards let it begin: where, who approved, and how far it reaches.
    Cleared(Box<Clearance>),
    /// The guards do not let it begin, for these reasons. Nothing was touched.
    Refused(Vec<String>),
    /// A safeguard did not hold, so everything was healed at once.
    Tripped {
        /// Which.
        probe: String,
    },
    /// A probe or an action ended.
    Done(Box<ProbeResult>),
    /// The steady state did not hold before the method, so no fault was injected.
    GateClosed {
        /// The probe that did not hold.
        probe: String,
    },
    /// The steady state deviated while the method ran, so the method was ended.
    Deviated {
        /// The probe that did not hold.
        probe: String,
    },
    /// A fault is about to be injected.
    Arming(FaultInfo),
    /// A fault is active: the kernel, read back, says so.
    Active {
        /// Which.
        fault: String,
    },
    /// What the clients of a workload did since the last such event.
    Operations {
        /// Which workload.
        workload: String,
        /// In the order of their times; those are the log's.
        operations: Vec<Operation>,
    },
    /// A fault is about to be healed.
    Healing {
        /// Which.
        fault: String,
    },
    /// A fault was healed, or could not be.
    Healed(Healed),
    /// What the target wrote to a log around something that was not as expected.
    Logged(Logged),
    /// The user interrupted.
    Interrupted,
    /// The tool could not do its work.
    Trouble {
        /// What was attempted, and why it failed.
        text: String,
        /// The exit code that fits.
        exit: u8,
    },
    /// The run ended. Always the last event of a complete log.
    Ended(Ended),
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this format.
    pub format: u32,
    /// The version of the tool.
    pub tool: String,
    /// The experiment's name: its file's name without the ending.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What its random decisions were seeded with.
    pub seed: u64,
    /// This host's name.
    pub host: String,
    /// The operating system and its version.
    pub platform: String,
    /// Every probe that has a tolerance.
    pub probes: Vec<ProbeSpec>,
    /// How many faults the method injects.
    pub faults: usize,
    /// How long recovery may take.
    pub recovery_within: Span,
    /// How long the steady state has to hold to count as recovered.
    pub recovery_stable: Span,
    /// The pause between two looks.
    pub frequency: Span,
    /// The experiment as it was written, for the journal.
    pub experiment: Value,
}

/// What is expected of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// Its name.
    pub name: String,
    /// Whether it is part of the steady state (else an invariant or of the method).
    pub steady: bool,
    /// Its tolerance in words.
    pub expected: String,
    /// When that is expected.
    pub during: Phases,
    /// How long after the beginning of a phase it may take.
    pub within: Option<Span>,
    /// The share of looks in a phase that has to be as expected; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// Whether it counts as detecting the fault.
    pub detects: bool,
}

/// Why a probe or an action was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To see the steady state before the method.
    Before,
    /// To see the steady state while the method runs and while it recovers.
    During,
    /// To see the steady state at the end.
    After,
    /// It is part of the method.
    Method,
    /// It is a manual step, because the system did not recover by itself.
    Recovery,
    /// It is a rollback.
    Rollback,
    /// It is an invariant.
    Invariant,
    /// It is a safeguard.
    Safeguard,
}

/// What a probe or an action did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Its name.
    pub name: String,
    /// Whether it looks or acts.
    pub kind: Kind,
    /// Why it was run.
    pub role: Role,
    /// When it began, in the log's time.
    pub began: u64,
    /// The time of day then.
    pub began_wall: String,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// What came back.
    pub output: Value,
    /// Why nothing came back.
    pub error: Option<String>,
    /// Whether the tolerance was met; `None` without one.
    pub met: Option<bool>,
    /// The outcome in words.
    pub seen: String,
    /// The activity as it was written, for the journal.
    pub activity: Value,
}

/// A fault that is about to be injected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultInfo {
    /// Its name: that of its action.
    pub fault: String,
    /// How long it is to last.
    pub lasts: Span,
    /// Whether it is a workload beside the experiment's faults: it makes no phase.
    #[serde(default)]
    pub beside: bool,
    /// What it does, rule by rule.
    pub rules: Vec<RuleText>,
    /// The activity as it was written.
    pub activity: Value,
}

/// A rule and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// Its name.
    pub rule: String,
    /// What it says.
    pub text: String,
}

/// How a fault ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Healed {
    /// Which.
    pub fault: String,
    /// What its rules did.
    pub evidence: Vec<RuleEvidence>,
    /// Who held packets, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// How long packets were held, by rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<MeasuredDelay>,
    /// Why it could not be taken back.
    pub error: Option<String>,
    /// What is worth a warning.
    pub remarks: Vec<String>,
}

/// Lines of one of the target's logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Whose log: `node/process`, or a file.
    pub source: String,
    /// In the order in which they were written.
    pub lines: Vec<LogLine>,
    /// How many before them were left out, because there were too many.
    pub skipped: u64,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was found to be there, in the run's time: at most 50 ms after it was written, or so.
    pub at: u64,
    /// The line.
    pub text: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ended {
    /// What could not be put back.
    pub left: Vec<String>,
    /// Whether the rollbacks were run.
    pub rolled_back: bool,
}

impl What {
    /// Trouble with the exit code that fits it.
    pub fn trouble(text: impl Into<String>, exit: Exit) -> Self {
        Self::Trouble { text: text.into(), exit: exit as u8 }
    }
}
