//! What can be wrong with a lab file, and where.

use std::io;
use std::path::PathBuf;

use serde_saphyr::{Error as YamlError, Location};

use super::spec::MAX_FILE;

/// Why a lab file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file could not be read.
    #[error("cannot read the lab file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is unreasonably large.
    #[error("the lab file {} has {size} bytes; the most that is read is {MAX_FILE}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// The name given for the lab cannot be used.
    #[error("the lab cannot be named {name:?}: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong at a place in a lab file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not YAML, or a value has the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A key that no lab file has.
    #[error("unknown field {field:?}{}", hint(nearest.as_deref(), expected))]
    UnknownField {
        /// The key.
        field: String,
        /// The closest one that exists here.
        nearest: Option<String>,
        /// Every key that exists here.
        expected: Vec<String>,
    },
    /// The size of a filesystem that is none, or out of bounds.
    #[error("{0}")]
    Disk(String),
    /// A name that is not a DNS label.
    #[error(
        "{what} name {name:?} must be 1 to 63 of a-z, 0-9 and '-', \
         beginning and ending with a letter or digit"
    )]
    Label {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name with a meaning of its own.
    #[error("{name:?} means this host everywhere; a node needs another name")]
    Reserved {
        /// The name.
        name: String,
    },
    /// Two things of the same name.
    #[error("there is already a {what} named {name:?}")]
    Twice {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More of something than a lab may have.
    #[error("{count} {what} are too many; the most is {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A lab without nodes.
    #[error("a lab needs at least one node")]
    NoNodes,
    /// A network that is used and does not exist.
    #[error("there is no network {name:?}{}", hint(nearest.as_deref(), known))]
    UnknownNetwork {
        /// The name.
        name: String,
        /// The closest one that exists.
        nearest: Option<String>,
        /// Every one that exists.
        known: Vec<String>,
    },
    /// A host in `ready` that is neither a node nor an address.
    #[error("{name:?} is neither an address nor a node{}", hint(nearest.as_deref(), known))]
    UnknownHost {
        /// The name.
        name: String,
        /// The closest node.
        nearest: Option<String>,
        /// Every node.
        known: Vec<String>,
    },
    /// Not a prefix.
    #[error("{text:?} is not an {family} prefix such as {example}")]
    Prefix {
        /// What is there.
        text: String,
        /// The family wanted.
        family: &'static str,
        /// One that would do.
        example: &'static str,
    },
    /// A prefix whose host part is not zero.
    #[error("{text} has bits set after its prefix length; write {instead}")]
    HostBits {
        /// What is there.
        text: String,
        /// What was probably meant.
        instead: String,
    },
    /// A prefix too short or too long for a network of hosts.
    #[error("{text} must have a prefix length from {least} to {most}")]
    PrefixLength {
        /// What is there.
        text: String,
        /// The smallest.
        least: u8,
        /// The largest.
        most: u8,
    },
    /// A prefix that hosts cannot have addresses from.
    #[error("{text} is {kind}; use a private prefix such as 10.77.1.0/24 or fd77:1::/64")]
    SpecialPrefix {
        /// What is there.
        text: String,
        /// What it is for.
        kind: &'static str,
    },
    /// Two networks share addresses.
    #[error("{text} overlaps with {other} of network {network:?}")]
    Overlap {
        /// What is there.
        text: String,
        /// The other prefix.
        other: String,
        /// The network that has it.
        network: String,
    },
    /// Not an address.
    #[error("{text:?} is not an {family} address")]
    Address {
        /// What is there.
        text: String,
        /// The family wanted.
        family: &'static str,
    },
    /// An address that its network cannot give.
    #[error("{address} is not an address that a host of network {network:?} ({prefix}) can have")]
    Outside {
        /// The address.
        address: String,
        /// The network.
        network: String,
        /// Its prefix, or what it has instead.
        prefix: String,
    },
    /// An address that two nodes want.
    #[error("{address} is already the address of node {node:?}")]
    Taken {
        /// The address.
        address: String,
        /// Who has it.
        node: String,
    },
    /// More nodes than addresses.
    #[error("network {network:?} ({prefix}) has too few addresses for its {nodes} nodes")]
    Full {
        /// The network.
        network: String,
        /// Its prefix.
        prefix: String,
        /// How many nodes are on it.
        nodes: usize,
    },
    /// A node that forwards but has nowhere to forward to.
    #[error("node {node:?} forwards but is on fewer than two networks")]
    ForwardsNothing {
        /// The node.
        node: String,
    },
    /// A process without a program.
    #[error("the command of process {process:?} is empty; it needs at least a program")]
    EmptyCommand {
        /// The process.
        process: String,
    },
    /// A text that cannot be passed to a process.
    #[error("{text:?} holds a zero byte, which no argument or variable can")]
    ZeroByte {
        /// The text.
        text: String,
    },
    /// A name that no environment variable can have.
    #[error("{name:?} cannot be the name of an environment variable")]
    Variable {
        /// The name.
        name: String,
    },
    /// An unknown `{…}`.
    #[error(
        "unknown placeholder {{{name}}}; known are {{data}}, {{lab}}, {{node}}, {{v4}} and {{v6}}; \
         write {{{{ for a brace"
    )]
    Placeholder {
        /// What stands between the braces.
        name: String,
    },
    /// A brace without its partner.
    #[error("{text:?} has a brace without its partner; write {{{{ or }}}} for a brace")]
    Brace {
        /// The text.
        text: String,
    },
    /// A placeholder for an address that the node does not have.
    #[error("node {node:?} has no {family} address for {{{name}}}")]
    NoAddress {
        /// The node.
        node: String,
        /// The family.
        family: &'static str,
        /// The placeholder.
        name: &'static str,
    },
    /// `ready` without a check, or with two.
    #[error("ready needs exactly one of http and tcp")]
    ReadyChoice,
    /// Not `host:port`.
    #[error("{text:?} is not host:port")]
    HostPort {
        /// What is there.
        text: String,
    },
    /// Not an http URL.
    #[error("{text:?} is not a URL such as http://node:8080/healthz")]
    Url {
        /// What is there.
        text: String,
    },
    /// Not a duration, or an unreasonable one.
    #[error("{text:?} is not a duration from 1ms to 10m, such as 500ms, 10s or 2m")]
    Duration {
        /// What is there.
        text: String,
    },
}

impl SpecError {
    pub(super) fn invalid(file: PathBuf, place: Location, problem: Problem) -> Self {
        Self::Invalid { file, line: place.line(), column: place.column(), problem }
    }

    pub(super) fn from_yaml(error: &YamlError, file: PathBuf) -> Self {
        let place = error.location().unwrap_or(Location::UNKNOWN);
        let problem = match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => Problem::UnknownField {
                field: field.clone(),
                nearest: nearest(field, expected),
                expected: expected.iter().map(ToString::to_string).collect(),
            },
            other => Problem::Syntax(first_line(&other.to_string())),
        };
        Self::invalid(file, place, problem)
    }
}

/// The parser's own rendering repeats the place and adds lines of context; the sentence is enough.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or("not YAML");
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, sentence)) => sentence,
        None => line,
    };
    match line.rsplit_once(" at line ") {
        Some((sentence, _)) => sentence.to_owned(),
        None => line.to_owned(),
    }
}

/// The candidate most like `name`, if one is like it at all.
pub(super) fn nearest<S: AsRef<str>>(name: &str, candidates: &[S]) -> Option<String> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate.as_ref()), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.as_ref().to_owned())
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None if known.is_empty() => "; there are none".into(),
        None => format!("; known are {}", known.join(", ")),
    }
}
