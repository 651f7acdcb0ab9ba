//! What a run showed: the verdict, the judgements that it rests on, and what was measured.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::expectation::Expectation;
use super::failure::FailureReport;
use crate::fault::{MeasuredDelay, RuleEvidence};
use crate::guard::Clearance;

/// How a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The fault acted, and everything held.
    Pass,
    /// The system did not meet its expectations.
    Fail,
    /// Nothing was shown: the fault did not act, or something was never looked at.
    Inconclusive,
    /// A guard tripped, or the user interrupted.
    Aborted,
    /// The tool could not do its work.
    Error,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Aborted => "ABORTED",
            Self::Error => "ERROR",
        })
    }
}

/// The answer to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Yes.
    Holds,
    /// No.
    Broken,
    /// It could not be shown.
    Unproven,
    /// The experiment does not ask it.
    NotAsked,
}

impl Status {
    /// In a word, for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "yes",
            Self::Broken => "NO",
            Self::Unproven => "unproven",
            Self::NotAsked => "-",
        }
    }
}

/// One of the five questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Did the fault act?
    FaultActed,
    /// Did the system meet its expectations?
    ExpectationsMet,
    /// Did it recover by itself?
    Recovered,
    /// Are the invariants intact?
    InvariantsIntact,
    /// Is the host as it was?
    HostClean,
}

impl Question {
    /// In words, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::FaultActed => "fault acted",
            Self::ExpectationsMet => "expectations met",
            Self::Recovered => "recovered by itself",
            Self::InvariantsIntact => "invariants intact",
            Self::HostClean => "host clean",
        }
    }
}

/// A question, its answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// What was asked.
    pub question: Question,
    /// The answer.
    pub status: Status,
    /// Why, one reason each.
    pub reasons: Vec<String>,
}

/// A fault and the proof of what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its name.
    pub fault: String,
    /// Whether it is a workload beside the experiment's faults.
    #[serde(default)]
    pub beside: bool,
    /// What its rules say, in the order of the evidence.
    pub rules: Vec<(String, String)>,
    /// What its rules did.
    pub evidence: Vec<RuleEvidence>,
    /// Who held packets, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// How long packets were held, by rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<MeasuredDelay>,
    /// How long it was active, in nanoseconds.
    pub lasted: Option<u64>,
    /// What is worth a warning.
    pub remarks: Vec<String>,
}

/// Times that are measured, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// From the beginning of the fault that was detected first until the end of the look that did so.
    pub time_to_detect: Option<u64>,
    /// How much earlier it may have been detectable: the last look that saw nothing began so long
    /// before the end of the one that did.
    pub detect_bound: Option<u64>,
    /// From the end of the fault until everything held again for good.
    pub time_to_recover: Option<u64>,
    /// How much earlier that may have been: the last look that failed began so long before the end of
    /// the one that showed it.
    pub recover_bound: Option<u64>,
    /// How many manual steps it took to recover; `None` when nothing was to recover from.
    pub manual_steps: Option<u32>,
}

/// Everything that a run showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The experiment's name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line.
    pub because: String,
    /// The exit code.
    pub exit: u8,
    /// The five judgements.
    pub judgements: Vec<Judgement>,
    /// The proof that faults acted.
    pub faults: Vec<FaultReport>,
    /// What was expected, and what was seen.
    pub expectations: Vec<Expectation>,
    /// Each that was not met, with the target's logs around it.
    pub failures: Vec<FailureReport>,
    /// What was measured.
    pub metrics: Metrics,
    /// The time of day when it began.
    pub began: String,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// What random decisions were seeded with.
    pub seed: u64,
    /// The version of the tool.
    pub tool: String,
    /// The host it ran on.
    pub host: String,
    /// What the guards let begin: where, who approved, and how far it reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearance: Option<Clearance>,
}
