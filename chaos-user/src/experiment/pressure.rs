//! Cgroups that are short of something.

use std::fmt;

use super::subject::Subject;
use super::variables::Variables;
use crate::plan::Pressure;

/// A cgroup that gets less than it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressureSpec {
    /// Which.
    pub confined: Confined,
    /// Of what, and how much it may have.
    pub pressure: Pressure,
    /// A file on the disk, or the disk, if it is about one. May hold `${name}`.
    pub path: Option<String>,
}

/// Whose cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confined {
    /// The one at this path. May hold `${name}`.
    Cgroup(String),
    /// That of a process that is alone in it, of a unit or of a container.
    Subject(Subject),
}

impl Confined {
    /// The same with every `${name}` replaced.
    #[must_use]
    pub fn filled(&self, variables: &Variables) -> Self {
        match self {
            Self::Cgroup(path) => Self::Cgroup(variables.fill_text(path)),
            Self::Subject(subject) => Self::Subject(subject.filled(variables)),
        }
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(f, "the cgroup {path}"),
            Self::Subject(subject) => subject.fmt(f),
        }
    }
}
