//! What a policy or an experiment allows.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::window::{Blackout, Window};
use crate::experiment::units::{Percent, Span};
use crate::plan::Protect;

/// What kind of place a host or a system is, in one word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(String);

impl Environment {
    /// The one that needs an approval even where no policy says so.
    pub const PRODUCTION: &str = "production";

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is production.
    pub fn is_production(&self) -> bool {
        self.0 == Self::PRODUCTION
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 40 || !text.chars().all(fits) {
            return Err(format!(
                "`{text}` is not an environment; write one word of small letters, digits and `-`, such \
                 as `staging` or `production`"
            ));
        }
        // An abbreviation must not be a way around the approval.
        if text != Self::PRODUCTION && ["prod", "prd", "live"].iter().any(|p| text.starts_with(p)) {
            return Err(format!("`{text}` is not an environment; did you mean `production`?"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is allowed. The default allows everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// Whether somebody has to have approved.
    pub approval: bool,
    /// In which zone hours and dates are meant; UTC without it.
    pub zone: Option<TimeZone>,
    /// When something may be done; empty is always.
    pub hours: Vec<Window>,
    /// When nothing may be done.
    pub blackouts: Vec<Blackout>,
    /// How much of it.
    pub limits: Limits,
    /// Flows that no fault may touch.
    pub protect: Vec<Protect>,
}

/// How much may be done. What is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The longest time that one fault may last.
    pub duration: Option<Span>,
    /// The largest share of packets that may be lost, refused, damaged or multiplied.
    pub loss: Option<Percent>,
    /// The longest time that packets may be held up.
    pub delay: Option<Span>,
    /// The largest share of flows.
    pub flows: Option<Percent>,
    /// The most hosts.
    pub hosts: Option<u32>,
    /// The most processes, units or containers.
    pub instances: Option<u32>,
}
