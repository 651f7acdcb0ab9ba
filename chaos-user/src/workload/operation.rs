//! One event of one operation.

use serde::{Deserialize, Serialize};

/// Something that a client began, or how that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which: counts from 0; an operation has two events.
    pub number: u32,
    /// Whose.
    pub client: u32,
    /// Its request.
    pub step: String,
    /// What happened.
    pub state: State,
    /// When, in nanoseconds: in a workload since it began, in the event log since the run began.
    /// With a rate the beginning is when the request was due.
    pub at: u64,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When it began with a payload that was made up: which, as 16 hexadecimal digits of a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Whether it was never sent, because too many were waiting for their answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsent: bool,
    /// What was said when it did not succeed, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What happened to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It began.
    Invoke,
    /// It was done.
    Ok,
    /// It certainly was not done.
    Fail,
    /// It may have been done.
    Info,
}
