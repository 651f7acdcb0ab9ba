//! Comparing what was asked for with what a dump says.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// One attribute that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Which attribute.
    pub what: String,
    /// What was asked for.
    pub wanted: String,
    /// What the kernel says.
    pub got: String,
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.what, self.got, self.wanted)
    }
}

/// One attribute that was asked for, and of which the kernel's dump says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
#[non_exhaustive]
pub enum Unconfirmed {
    /// Kernels that know the attribute dump it: this one ignored it without an error.
    Ignored {
        /// Which attribute.
        what: String,
        /// What was asked for.
        wanted: String,
        /// The first kernel that knows it.
        since: String,
    },
    /// No kernel dumps it; it was accepted.
    NeverDumped {
        /// Which attribute.
        what: String,
    },
}

impl Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { what, wanted, since } => {
                write!(f, "this kernel ignored the {what} {wanted} (needs Linux {since})")
            }
            Self::NeverDumped { what } => {
                write!(f, "the {what} was accepted, but no kernel reads it back")
            }
        }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadBack {
    /// Attributes that are wrong.
    pub mismatches: Vec<Mismatch>,
    /// Attributes that the dump does not tell.
    pub unconfirmed: Vec<Unconfirmed>,
}

impl ReadBack {
    pub(super) fn expect<T: PartialEq + Display>(&mut self, what: &str, wanted: T, got: T) {
        if wanted != got {
            self.differ(what, wanted, got);
        }
    }

    pub(super) fn differ(&mut self, what: &str, wanted: impl Display, got: impl Display) {
        self.mismatches.push(Mismatch {
            what: what.to_owned(),
            wanted: wanted.to_string(),
            got: got.to_string(),
        });
    }

    /// Times in ticks: the kernel computes them from bytes with a fixed-point rate, so the last
    /// digits differ.
    pub(super) fn expect_ticks(&mut self, what: &str, wanted: u32, got: u32) {
        if wanted.abs_diff(got) > 2 + (wanted >> 20) {
            self.differ(what, format!("{wanted} ticks"), format!("{got} ticks"));
        }
    }

    pub(super) fn ignored(&mut self, what: &str, wanted: impl Display, since: &str) {
        self.unconfirmed.push(Unconfirmed::Ignored {
            what: what.to_owned(),
            wanted: wanted.to_string(),
            since: since.to_owned(),
        });
    }

    pub(super) fn never_dumped(&mut self, what: &str) {
        self.unconfirmed.push(Unconfirmed::NeverDumped { what: what.to_owned() });
    }
}
