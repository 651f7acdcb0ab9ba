//! What can be wrong with an experiment file, and where.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_saphyr::{Error as YamlError, Location};

use super::units::{UnitError, nearest};
use crate::kernel::netlink::qdisc::InvalidQdisc;

/// A line and a column, both from 1; 0 when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why an experiment file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{place}: {problem}", file.display())]
pub struct ExperimentError {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What is wrong at a place in an experiment file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message of each variant shows")]
pub enum Problem {
    /// It is no YAML or JSON, or a value has the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A key that nothing reads.
    #[error("unknown key `{key}`; {}", hint(nearest.as_deref(), known))]
    UnknownKey { key: String, nearest: Option<String>, known: Vec<String> },
    /// A key that another type of provider or fault has.
    #[error("`{key}` has no meaning for {what}; it takes {known}")]
    Misplaced { key: &'static str, what: String, known: &'static str },
    /// A key that has to be there.
    #[error("{what} needs `{key}`, {purpose}")]
    Missing { what: String, key: &'static str, purpose: &'static str },
    /// Not a word of a closed list.
    #[error("`{given}` is not {what}{}; valid are {known}", did_you_mean(nearest.as_deref()))]
    UnknownWord { what: &'static str, given: String, nearest: Option<String>, known: String },
    /// A quantity.
    #[error("{0}")]
    Unit(#[from] UnitError),
    /// A netem that no kernel could carry out.
    #[error("{0}")]
    Netem(InvalidQdisc),
    /// A value that is not understood.
    #[error("{what} must be {wanted}, not {given}")]
    Value { what: &'static str, wanted: &'static str, given: String },
    /// A pattern that does not compile.
    #[error("`{pattern}` is not a {what}: {why}")]
    Pattern { what: &'static str, pattern: String, why: String },
    /// Python code.
    #[error(
        "python providers are not run: `{module}` would need the Chaos Toolkit; use `http`, `process` \
         or `chaos`, or call it through `process`"
    )]
    Python { module: String },
    /// Controls are python code too.
    #[error("controls are not run: they are python code of the Chaos Toolkit; remove them")]
    Controls,
    /// A reference to nothing.
    #[error("there is no activity named `{name}` to refer to{}", did_you_mean(nearest.as_deref()))]
    UnknownReference { name: String, nearest: Option<String> },
    /// A `${target.KEY}` without such a key.
    #[error("`${{{name}}}` stands for nothing{}", referents(nearest.as_deref(), known))]
    UnknownReferent { name: String, nearest: Option<String>, known: Vec<String> },
    /// A name used twice, which would make the result ambiguous.
    #[error("there is already a probe or action named `{name}`; results are told apart by name")]
    Twice { name: String },
    /// Something that only makes sense in a lab.
    #[error("{what} names a lab node, but the experiment has no `lab`")]
    NoLab { what: String },
    /// A node that neither the lab nor `target.namespaces` has.
    #[error("there is no node `{node}`{}; known are {}", did_you_mean(nearest.as_deref()), known.join(", "))]
    UnknownNode { node: String, nearest: Option<String>, known: Vec<String> },
    /// Two keys that exclude each other.
    #[error("`{one}` and `{other}` exclude each other; keep one")]
    Exclusive { one: &'static str, other: &'static str },
    /// A text that is refused for a reason of its own.
    #[error("{0}")]
    Refused(String),
    /// A probe that can never be judged.
    #[error("{0}")]
    Pointless(&'static str),
}

/// The list may be long, so it is shown only to those who are not near any of it.
fn hint(nearest: Option<&str>, known: &[String]) -> String {
    nearest.map_or_else(
        || format!("known here are {}", known.join(", ")),
        |word| format!("did you mean `{word}`?"),
    )
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// What a reference might have meant.
fn referents(nearest: Option<&str>, known: &[String]) -> String {
    match (nearest, known) {
        (Some(name), _) => format!("; did you mean `${{{name}}}`?"),
        (None, []) => "; the experiment has no `target` section".into(),
        (None, known) => format!("; known are {}", known.join(", ")),
    }
}

impl ExperimentError {
    pub(crate) fn from_yaml(error: &YamlError, file: PathBuf) -> Self {
        let place = error.location().unwrap_or(Location::UNKNOWN).into();
        let problem = match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => Problem::UnknownKey {
                key: field.clone(),
                nearest: nearest(field, expected.iter().copied()).map(ToOwned::to_owned),
                known: expected.iter().map(ToString::to_string).collect(),
            },
            other => Problem::Syntax(sentence(&other.to_string())),
        };
        Self { file, place, problem: Box::new(problem) }
    }
}

/// The parser's own rendering repeats the place and adds lines of context.
fn sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or("not YAML");
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, sentence)) => sentence,
        None => line,
    };
    line.rsplit_once(" at line ").map_or(line, |(sentence, _)| sentence).to_owned()
}
