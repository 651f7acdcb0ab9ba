//! What happens to a chosen packet that is not lost at once.

use std::fmt;

use chaos_common::rule::{action::MAX_COPIES, corrupt};
use chaos_common::{police, rule as wire};
use serde::{Deserialize, Serialize};

use super::{Action, Loss, RuleError, Selector};
use crate::experiment::units::{Direction, Rate};

/// A token bucket: packets pass while it has room, and are lost else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Police {
    /// The long-term rate, link layer included; at least 8 kbit/s. All packets of the rule share it.
    pub rate: Rate,
    /// Bytes that may pass at once. A packet longer than this never passes; a GSO super-packet is one
    /// packet of up to 64 KiB.
    pub burst: u64,
}

impl Police {
    /// Bytes for 20 ms at the rate, and at least two super-packets.
    pub fn default_burst(rate: Rate) -> u64 {
        (rate.bytes() / 50).max(131_072)
    }
}

/// One bit of the payload is flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrupt {
    /// Which of the chosen packets.
    pub share: Loss,
    /// What the receiver can know of it.
    pub checksum: Checksum,
}

/// What becomes of the transport checksum of a corrupted packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// It does not fit: the receiver discards the packet, as most networks make it.
    #[default]
    Detected,
    /// It fits: the application reads wrong bytes.
    Silent,
}

/// The packet is sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicate {
    /// Which of the chosen packets.
    pub share: Loss,
    /// Copies besides the packet itself, 1 to 8. All rules together make 8 at most.
    pub copies: u8,
}

/// The packet goes by way of a device that holds it, and comes back to where it left.
///
/// Which device, and with which class or slot, is not known to the plan: the caller tells the loaded
/// object for each device and hook of the rule ([`Object::set_detour`]). Until it has, the packet
/// passes, and so it does when the detour is gone or its lease has run out.
///
/// [`Object::set_detour`]: crate::kernel::bpf::Object::set_detour
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detour {
    /// Which of the chosen packets.
    pub share: Loss,
    /// What happens on the way, for people: `delay 500ms`.
    pub what: String,
}

impl Police {
    /// Refuses what would stop ordinary streams altogether; `rule` is called what it is about.
    pub(crate) fn check(self, rule: &dyn Fn() -> String) -> Result<(), RuleError> {
        if self.rate.bits() < police::MIN_RATE {
            return Err(RuleError::TooSlow { rule: rule(), rate: self.rate.to_string() });
        }
        // Ethernet's longest frame: less would stop ordinary streams altogether.
        if self.burst < 1514 {
            return Err(RuleError::BurstTooSmall { rule: rule(), burst: self.burst });
        }
        Ok(())
    }

    pub(super) fn encode(self, to: &mut wire::Rule) {
        let rate = self.rate.bits();
        to.amount = [police::byte_cost(rate), police::burst(rate, self.burst)];
    }
}

impl Duplicate {
    pub(super) fn check(self, rule: &dyn Fn() -> String) -> Result<(), RuleError> {
        if !(1..=MAX_COPIES).contains(&u64::from(self.copies)) {
            return Err(RuleError::Copies { rule: rule(), copies: self.copies });
        }
        Ok(())
    }
}

impl Checksum {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Detected => corrupt::DETECTED,
            Self::Silent => corrupt::SILENT,
        }
    }
}

/// Where packets that arrive for a cgroup are recognised, they can be lost and nothing else.
pub(super) fn check_place(
    action: &Action,
    selector: &Selector,
    rule: &dyn Fn() -> String,
) -> Result<(), RuleError> {
    let changes = matches!(action, Action::Corrupt(_) | Action::Duplicate(_) | Action::Detour(_));
    if changes && selector.cgroup.is_some() && selector.direction != Direction::To {
        return Err(RuleError::ArrivesAtCgroup { rule: rule() });
    }
    Ok(())
}

impl fmt::Display for Police {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, burst } = self;
        write!(f, "lose what exceeds {rate} after a burst of {burst} bytes")
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, checksum } = self;
        let how = match checksum {
            Checksum::Detected => "so that checksums detect it",
            Checksum::Silent => "SILENTLY (checksums are made to fit)",
        };
        write!(f, "flip a bit in {share}, {how}")
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, copies } = self;
        write!(f, "duplicate {share}")?;
        if *copies > 1 { write!(f, ", {copies} copies each") } else { Ok(()) }
    }
}

impl fmt::Display for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, what } = self;
        write!(f, "{what} for {share}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Rule;

    fn check(action: Action, selector: Selector) -> Result<(), RuleError> {
        Rule { name: "it".into(), selector, action }.check()
    }

    fn police(rate: &str, burst: u64) -> Action {
        Action::Police(Police { rate: rate.parse().unwrap(), burst })
    }

    #[test]
    fn what_could_never_act_as_written_is_refused() {
        let any = Selector::default;
        assert!(check(police("8kbit", 1514), any()).is_ok());
        let slow = check(police("7999bit", 1514), any()).unwrap_err();
        assert!(matches!(slow, RuleError::TooSlow { .. }), "{slow}");
        let small = check(police("8kbit", 1513), any()).unwrap_err();
        assert!(matches!(small, RuleError::BurstTooSmall { .. }), "{small}");
        for (copies, good) in [(0, false), (1, true), (8, true), (9, false)] {
            let duplicate = Action::Duplicate(Duplicate { share: Loss::Always, copies });
            assert_eq!(check(duplicate, any()).is_ok(), good, "{copies}");
        }
        let never = Loss::Random("0%".parse().unwrap());
        let checksum = Checksum::Silent;
        for action in [
            Action::Corrupt(Corrupt { share: never, checksum }),
            Action::Duplicate(Duplicate { share: never, copies: 1 }),
            Action::Detour(Detour { share: never, what: String::new() }),
        ] {
            let error = check(action, any()).unwrap_err();
            assert!(matches!(error, RuleError::NeverActs { .. }), "{error}");
        }
    }

    #[test]
    fn packets_that_arrive_for_a_cgroup_can_only_be_lost() {
        let cgroup = Some(crate::plan::CgroupRef { path: "/it".into(), id: 1, level: 1 });
        for direction in [Direction::To, Direction::From, Direction::Both] {
            let selector = Selector { cgroup: cgroup.clone(), direction, ..Selector::default() };
            let duplicate = Action::Duplicate(Duplicate { share: Loss::Always, copies: 1 });
            let good = direction == Direction::To;
            assert_eq!(check(duplicate, selector.clone()).is_ok(), good);
            assert!(check(police("1mbit", 9000), selector).is_ok());
        }
    }
}
