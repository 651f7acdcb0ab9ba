//! Which way the packets go.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::text::{nearest, serde_as_text};

const WHAT: &str = "a direction";

/// Which way a packet goes, seen from the host (or lab node) that holds the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Direction {
    /// Packets that leave the host towards the remote side.
    To,
    /// Packets that arrive from the remote side.
    From,
    /// Both ways.
    #[default]
    Both,
}

impl Direction {
    /// Whether packets that leave are meant.
    pub const fn sends(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// Whether packets that arrive are meant.
    pub const fn receives(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::To => "to",
            Self::From => "from",
            Self::Both => "both",
        }
    }
}

impl FromStr for Direction {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "to" });
        }
        let all = [Self::To, Self::From, Self::Both];
        if let Some(direction) = all.into_iter().find(|direction| direction.word() == trimmed) {
            return Ok(direction);
        }
        let meant = match trimmed.to_lowercase().as_str() {
            "egress" | "out" | "outgoing" | "outbound" | "output" => Some("to"),
            "ingress" | "in" | "incoming" | "inbound" | "input" => Some("from"),
            "all" | "any" | "bidirectional" => Some("both"),
            other => nearest(other, all.map(Self::word)),
        };
        Err(UnitError::UnknownWord {
            what: WHAT,
            given: text.to_owned(),
            nearest: meant,
            valid: "`to` (packets that leave), `from` (packets that arrive) and `both`",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

serde_as_text!(Direction, "a direction: `to`, `from` or `both`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_says_which_way() {
        for direction in [Direction::To, Direction::From, Direction::Both] {
            assert_eq!(direction.to_string().parse(), Ok(direction));
        }
        assert!(Direction::Both.sends() && Direction::Both.receives());
        assert!(Direction::To.sends() && !Direction::To.receives());
    }

    #[test]
    fn explains_what_it_refuses() {
        let refused = |text: &str| text.parse::<Direction>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("egress"), @"`egress` is not a direction; did you mean `to`?; valid are `to` (packets that leave), `from` (packets that arrive) and `both`");
        insta::assert_snapshot!(refused("form"), @"`form` is not a direction; did you mean `from`?; valid are `to` (packets that leave), `from` (packets that arrive) and `both`");
    }
}
