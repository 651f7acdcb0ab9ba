//! Workloads as they are meant: clients that load the system under test.

use indexmap::IndexMap;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::subject::Subject;
use super::tolerance::Tolerance;
use super::units::Span;

/// Clients that send requests, each of which is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadSpec {
    /// The lab node the clients run on; `None` is this host.
    pub from: Option<String>,
    /// When requests are sent.
    pub pace: Pace,
    /// The fault of the method that has to be active before anything is sent.
    pub after: Option<String>,
    /// How long requests are sent.
    pub lasts: Span,
    /// Values that users take turns with, as `${name}`.
    pub vary: IndexMap<String, Vec<Value>>,
    /// What each group does before anything is measured, one after another.
    pub prepare: Vec<Step>,
    /// What is sent and measured.
    pub requests: Vec<Step>,
    /// What each group has to find afterwards.
    pub verify: Vec<Step>,
    /// Statuses that show that a request reached what it was meant for; empty is all but 404 and
    /// 405.
    pub hits: Vec<u16>,
    /// A request afterwards whose first saved value counts what the workload made happen, instead of
    /// requests that hit.
    pub evidence: Option<Box<Step>>,
    /// The process whose memory and life are watched meanwhile.
    pub watch: Option<Subject>,
    /// Whether it is traffic beside the experiment's fault rather than the fault itself.
    pub beside: bool,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Released at the same instant: every user begins its list of requests then.
    Together {
        /// Groups of users; `prepare` and `verify` are done once for each.
        groups: u32,
        /// Users in each group.
        users: u32,
        /// How often each user goes through the list.
        rounds: u32,
    },
    /// So many per second, whether or not earlier ones have been answered. A time is counted from
    /// when its request was due, so a system that stalls cannot hide it.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

impl Pace {
    /// How many groups there are.
    pub const fn groups(self) -> u32 {
        match self {
            Self::Together { groups, .. } => groups,
            Self::Open { .. } => 1,
        }
    }
}

/// One request. Texts may hold `${name}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What results are told apart by.
    pub name: String,
    /// In capitals.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Header fields.
    pub headers: IndexMap<String, Value>,
    /// The body: JSON, or a text as it is.
    pub body: Option<Value>,
    /// A body of so many bytes instead, sent in pieces.
    pub size: Option<u64>,
    /// Whether the length of that body is kept from the receiver.
    pub chunked: bool,
    /// Bodies made up to be refused: `${payload}` in the body, or the whole body.
    pub payloads: Option<Payloads>,
    /// How often it is repeated until it succeeds.
    pub retries: u32,
    /// The pause before it is repeated.
    pub pause: Span,
    /// For the whole exchange.
    pub timeout: Span,
    /// What later steps of the same group know as `${name}`: the first value that a path finds in
    /// the answer's body.
    pub save: IndexMap<String, SavedPath>,
    /// What is expected of the answer; for `prepare` a status of 2xx unless given.
    pub tolerance: Option<Tolerance>,
}

/// A path and how it was written.
#[derive(Debug, Clone)]
pub struct SavedPath {
    /// As written.
    pub text: String,
    /// As RFC 9535 defines it.
    pub path: JsonPath,
}

impl PartialEq for SavedPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Malformed payloads to make up.
#[derive(Debug, Clone, PartialEq)]
pub struct Payloads {
    /// How many; the fixed corpus comes first.
    pub count: u32,
    /// Good texts to spoil; may hold `${name}`.
    pub samples: Vec<String>,
    /// Seeds the choice; that of the run if not given.
    pub seed: Option<u64>,
}

impl WorkloadSpec {
    /// What it does, in words.
    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.requests.iter().map(|step| step.name.as_str()).collect();
        let names = names.join(", ");
        match self.pace {
            Pace::Together { groups: 1, users, rounds: 1 } => {
                format!("{users} users released at once: {names}")
            }
            Pace::Together { groups, users, rounds } => {
                format!(
                    "{groups} groups of {users} users released at once, {rounds} times: {names}"
                )
            }
            Pace::Open { rate } => format!("{rate} requests per second: {names}"),
        }
    }
}
