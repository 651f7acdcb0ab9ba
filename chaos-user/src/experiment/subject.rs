//! Whose means are taken away.

use std::fmt;

use super::fault::Target;
use super::service::Supervised;
use super::variables::Variables;

/// A process that a fault is about, with those that it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A process of the lab.
    Process(Target),
    /// The main process of a unit or a container.
    Service(Supervised),
    /// The process whose number is in this file. May hold `${name}`.
    PidFile(String),
}

/// A process may have so many descriptors more than it has, and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorsSpec {
    /// Whose.
    pub subject: Subject,
    /// How many more.
    pub spare: u32,
}

impl Subject {
    /// The same with every `${name}` replaced.
    #[must_use]
    pub fn filled(&self, variables: &Variables) -> Self {
        match self {
            Self::Process(target) => Self::Process(target.clone()),
            Self::Service(service) => Self::Service(service.filled(variables)),
            Self::PidFile(path) => Self::PidFile(variables.fill_text(path)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Target { node, process }) => {
                write!(f, "the process {process} of {node}")
            }
            Self::Service(service) => service.fmt(f),
            Self::PidFile(path) => write!(f, "the process of {path}"),
        }
    }
}
