//! A run in short.

use serde::{Deserialize, Serialize};

use crate::verdict::{Findings, Verdict};

/// The version of a record's format; others are left out when reading.
pub const FORMAT: u32 = 1;

/// A run in short. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub format: u32,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// The experiment's name.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line.
    pub because: String,
    /// From the fault until it was noticed.
    pub time_to_detect: Option<u64>,
    /// How much less that may have been.
    #[serde(default)]
    pub detect_bound: Option<u64>,
    /// From the end of the fault until everything held again.
    pub time_to_recover: Option<u64>,
    /// How much less that may have been.
    #[serde(default)]
    pub recover_bound: Option<u64>,
    /// How many manual steps it took to recover; `None` when nothing was to recover from.
    pub manual_steps: Option<u32>,
    /// How long it took.
    pub took: u64,
    /// What it was seeded with.
    pub seed: u64,
    /// The name of its folder.
    pub folder: String,
}

impl Record {
    /// Of a run whose results are in a folder of that name.
    pub fn of(findings: &Findings, folder: String) -> Self {
        let metrics = findings.metrics;
        Self {
            format: FORMAT,
            began: findings.began.clone(),
            name: findings.name.clone(),
            verdict: findings.verdict,
            because: findings.because.clone(),
            time_to_detect: metrics.time_to_detect,
            detect_bound: metrics.detect_bound,
            time_to_recover: metrics.time_to_recover,
            recover_bound: metrics.recover_bound,
            manual_steps: metrics.manual_steps,
            took: findings.took,
            seed: findings.seed,
            folder,
        }
    }
}
