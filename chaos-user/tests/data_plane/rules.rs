//! Short ways to say rules.

use std::str::FromStr;

use chaos::experiment::units::{Direction, PortRange};
use chaos::plan::{Action, Answer, Loss, Reject, Rule, Selector};

pub(crate) const DROP: Action = Action::Drop(Loss::Always);

/// Reads a quantity, or fails the test.
pub(crate) fn read<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn ports(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).unwrap()
}

pub(crate) fn both() -> Selector {
    Selector { direction: Direction::Both, ..Selector::default() }
}

pub(crate) fn rule(name: &str, selector: Selector, action: Action) -> Rule {
    Rule { name: name.into(), selector, action }
}

pub(crate) fn reject(answer: Answer) -> Action {
    Action::Reject(Reject { answer, errno: None })
}

pub(crate) const ANSWERS: [Answer; 5] = [
    Answer::Auto,
    Answer::PortUnreachable,
    Answer::HostUnreachable,
    Answer::NetUnreachable,
    Answer::AdminProhibited,
];
