//! What did not hold, with everything that helps to find out why.

use serde::{Deserialize, Serialize};

use super::expectation::Expectation;
use super::findings::{Question, Status};
use crate::experiment::Phase;
use crate::run::{Event, What};

/// Lines of a log shown with a failure, at most.
const LINES: usize = 16;
/// How far around a failure its lines may be, in nanoseconds.
const BEFORE: u64 = 2_000_000_000;
const AFTER: u64 = 1_000_000_000;

/// An expectation that was not met: what was expected, what was seen, when, and what the target
/// wrote to its logs around then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    /// The question that it answers with no.
    pub question: Question,
    /// The probe.
    pub probe: String,
    /// The phase; `None` for probes of the method and invariants.
    pub phase: Option<Phase>,
    /// What was expected.
    pub expected: String,
    /// What was seen instead.
    pub seen: String,
    /// When the look ended that saw it, in the log's time.
    pub at: u64,
    /// The time of day when that look began.
    pub wall: String,
    /// How many looks were not as expected.
    pub failures: usize,
    /// Of how many.
    pub looks: usize,
    /// The target's logs around then, as `source: line`.
    pub log: Vec<LoggedLine>,
}

/// A line that the target wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedLine {
    /// When it was found, in the log's time.
    pub at: u64,
    /// Whose log it is from.
    pub source: String,
    /// The line.
    pub text: String,
}

impl FailureReport {
    /// When it was, in words.
    pub const fn when(&self) -> &'static str {
        match (self.phase, self.question) {
            (Some(Phase::Before), _) => "before the fault",
            (Some(Phase::Fault), _) => "under the fault",
            (Some(Phase::After), _) => "after the fault",
            (None, Question::InvariantsIntact) => "at the end",
            (None, _) => "in the method",
        }
    }

    /// Of an expectation, if it was not met.
    pub(super) fn of(one: &Expectation) -> Option<Self> {
        let first = one.first.as_ref().filter(|_| one.status == Status::Broken)?;
        let question =
            if one.invariant { Question::InvariantsIntact } else { Question::ExpectationsMet };
        Some(Self {
            question,
            probe: one.probe.clone(),
            phase: one.phase,
            expected: one.expected.clone(),
            seen: first.seen.clone(),
            at: first.at,
            wall: first.wall.clone(),
            failures: one.failures,
            looks: one.looks,
            log: Vec::new(),
        })
    }

    /// With the lines of the logs that are nearest to it.
    pub(super) fn with_log(mut self, events: &[Event]) -> Self {
        let near = self.at.saturating_sub(BEFORE)..=self.at.saturating_add(AFTER);
        let mut lines: Vec<LoggedLine> = events
            .iter()
            .filter_map(|event| match &event.event {
                What::Logged(logged) => Some(logged),
                _ => None,
            })
            .flat_map(|logged| {
                logged.lines.iter().map(|line| LoggedLine {
                    at: line.at,
                    source: logged.source.clone(),
                    text: line.text.clone(),
                })
            })
            .filter(|line| near.contains(&line.at))
            .collect();
        // What was written last before it tells most.
        lines.sort_by_key(|line| line.at);
        let before = lines.partition_point(|line| line.at <= self.at);
        let from = before.saturating_sub(LINES * 3 / 4).min(lines.len().saturating_sub(LINES));
        lines.drain(..from);
        lines.truncate(LINES);
        self.log = lines;
        self
    }
}
