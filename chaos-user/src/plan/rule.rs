//! What a rule does with the packets it chose.

use std::fmt;
use std::str::FromStr;

use chaos_common::decide::ALL;
use chaos_common::rule::{loss, reject};
use serde::{Deserialize, Serialize};

use super::change::check_place;
use super::{Corrupt, Detour, Duplicate, Police, Selector};
use crate::experiment::units::Percent;

/// A selector and an action, under a name that evidence is reported by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Unique within a fault.
    pub name: String,
    /// Which packets.
    pub selector: Selector,
    /// What happens to them.
    pub action: Action,
}

/// What happens to a chosen packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// No other rule applies to it.
    Protect,
    /// It is lost as a network loses packets.
    Drop(Loss),
    /// It is lost, and its sender is told.
    Reject(Reject),
    /// It is lost when it exceeds a rate.
    Police(Police),
    /// A bit of it is flipped.
    Corrupt(Corrupt),
    /// It is sent more than once.
    Duplicate(Duplicate),
    /// It is held on the way.
    Detour(Detour),
}

impl Action {
    /// Which of the chosen packets it is applied to; `None` where that is not a matter of chance.
    pub(super) fn share(&self) -> Option<&Loss> {
        match self {
            Self::Protect | Self::Reject(_) | Self::Police(_) => None,
            Self::Drop(share) => Some(share),
            Self::Corrupt(corrupt) => Some(&corrupt.share),
            Self::Duplicate(duplicate) => Some(&duplicate.share),
            Self::Detour(detour) => Some(&detour.share),
        }
    }
}

/// Which of the chosen packets an action is applied to: the ways in which networks lose packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// All.
    Always,
    /// Each independently with this probability.
    Random(Percent),
    /// Exactly this share of each 1000.
    Exact(Percent),
    /// Every n-th; at least 1.
    EveryNth(u32),
    /// Bursts: a chain of a good and a bad state.
    GilbertElliott {
        /// Good to bad, per packet.
        p: Percent,
        /// Bad to good, per packet.
        r: Percent,
        /// Loss in the bad state.
        loss_in_bad: Percent,
        /// Loss in the good state.
        loss_in_good: Percent,
    },
}

/// How a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reject {
    /// Answer to packets.
    pub answer: Answer,
    /// What connect(2) returns; `None` leaves connecting to the packets.
    pub errno: Option<Errno>,
}

/// The packet that answers a refused packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// RST to TCP, ICMP port unreachable to everything else.
    #[default]
    Auto,
    /// ICMP port unreachable.
    PortUnreachable,
    /// ICMP host (v6: address) unreachable.
    HostUnreachable,
    /// ICMP network unreachable (v6: no route).
    NetUnreachable,
    /// ICMP administratively prohibited.
    AdminProhibited,
}

impl Answer {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Auto => reject::AUTO,
            Self::PortUnreachable => reject::PORT_UNREACHABLE,
            Self::HostUnreachable => reject::HOST_UNREACHABLE,
            Self::NetUnreachable => reject::NET_UNREACHABLE,
            Self::AdminProhibited => reject::ADMIN_PROHIBITED,
        }
    }
}

/// An error number that a connecting process may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Errno(u8);

/// Those that connect(2) documents for trouble on the way.
const ERRNOS: [(&str, i32); 7] = [
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("EACCES", libc::EACCES),
    ("EPERM", libc::EPERM),
];

impl Errno {
    /// Nobody listens.
    pub const CONNECTION_REFUSED: Self = Self(0);

    pub(crate) fn number(self) -> u16 {
        ERRNOS[usize::from(self.0)].1 as u16
    }

    fn name(self) -> &'static str {
        ERRNOS[usize::from(self.0)].0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No such errno is offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no error that connect(2) could give here; choose one of {}", all_errnos())]
pub struct UnknownErrno {
    given: String,
}

fn all_errnos() -> String {
    ERRNOS.map(|(name, _)| name).join(", ")
}

impl FromStr for Errno {
    type Err = UnknownErrno;

    fn from_str(given: &str) -> Result<Self, UnknownErrno> {
        ERRNOS
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(given))
            .map(|position| Self(position as u8))
            .ok_or_else(|| UnknownErrno { given: given.into() })
    }
}

impl TryFrom<String> for Errno {
    type Error = UnknownErrno;

    fn try_from(given: String) -> Result<Self, UnknownErrno> {
        given.parse()
    }
}

impl From<Errno> for String {
    fn from(errno: Errno) -> Self {
        errno.name().into()
    }
}

/// A rule that could never act, or never as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A probability of 0 hits nothing.
    #[error(
        "rule `{rule}`: a share of 0% never acts; give a share above 0%, or leave the rule out"
    )]
    NeverActs {
        /// Its name.
        rule: String,
    },
    /// Every 0-th.
    #[error("rule `{rule}`: every 0th packet is no packet; give 1 (all), 2 (every other)…")]
    EveryZeroth {
        /// Its name.
        rule: String,
    },
    /// Slower than the kernel side can count.
    #[error("rule `{rule}`: {rate} is below 8kbit, the slowest rate; to stop traffic, use drop")]
    TooSlow {
        /// Its name.
        rule: String,
        /// The rate.
        rate: String,
    },
    /// No full frame would ever pass.
    #[error(
        "rule `{rule}`: a burst of {burst} bytes is shorter than a frame, which would never pass; give 1514 bytes or more"
    )]
    BurstTooSmall {
        /// Its name.
        rule: String,
        /// Bytes.
        burst: u64,
    },
    /// None, or too many.
    #[error("rule `{rule}`: {copies} copies; give 1 to 8")]
    Copies {
        /// Its name.
        rule: String,
        /// How many.
        copies: u8,
    },
    /// Nothing but loss is possible there.
    #[error(
        "rule `{rule}`: packets that arrive for a cgroup can be lost but not changed, copied or held; choose direction to, or leave the cgroup out"
    )]
    ArrivesAtCgroup {
        /// Its name.
        rule: String,
    },
    /// Two families in one selector.
    #[error(
        "rule `{rule}`: local {local} and remote {remote} are of different IP versions, so no packet has both"
    )]
    MixedFamilies {
        /// Its name.
        rule: String,
        /// One of the local prefixes.
        local: String,
        /// One of the remote prefixes.
        remote: String,
    },
    /// Ports of a protocol without ports.
    #[error(
        "rule `{rule}`: {protocol} has no ports; drop the ports, or choose tcp, udp, sctp or dccp"
    )]
    NoPorts {
        /// Its name.
        rule: String,
        /// The protocol.
        protocol: String,
    },
    /// Connections of a protocol without connections.
    #[error("rule `{rule}`: new and established are told apart for tcp only, not for {protocol}")]
    NoConnections {
        /// Its name.
        rule: String,
        /// The protocol.
        protocol: String,
    },
}

impl Rule {
    /// Refuses what could never act as written.
    pub fn check(&self) -> Result<(), RuleError> {
        let rule = || self.name.clone();
        let selector = &self.selector;
        if selector.flows.is_some_and(|flows| flows.ppb() == 0) {
            return Err(RuleError::NeverActs { rule: rule() });
        }
        check_place(&self.action, selector, &rule)?;
        match &self.action {
            Action::Police(police) => police.check(&rule)?,
            Action::Duplicate(duplicate) => duplicate.check(&rule)?,
            _ => {}
        }
        if let Some(share) = self.action.share() {
            match share {
                Loss::Random(share) | Loss::Exact(share) if share.ppb() == 0 => {
                    return Err(RuleError::NeverActs { rule: rule() });
                }
                Loss::GilbertElliott { p, loss_in_bad, loss_in_good, .. }
                    if loss_in_good.ppb() == 0 && (p.ppb() == 0 || loss_in_bad.ppb() == 0) =>
                {
                    return Err(RuleError::NeverActs { rule: rule() });
                }
                Loss::EveryNth(0) => return Err(RuleError::EveryZeroth { rule: rule() }),
                _ => {}
            }
        }
        if let (Some(local), Some(remote)) = (selector.local.first(), selector.remote.first()) {
            let pairs =
                selector.local.iter().flat_map(|l| selector.remote.iter().map(move |r| (l, r)));
            if !pairs.into_iter().any(|(l, r)| l.is_ipv4() == r.is_ipv4()) {
                return Err(RuleError::MixedFamilies {
                    rule: rule(),
                    local: local.to_string(),
                    remote: remote.to_string(),
                });
            }
        }
        if let Some(protocol) = selector.protocol {
            let names_ports = !selector.local_ports.is_empty() || !selector.remote_ports.is_empty();
            if names_ports && !protocol.has_ports() {
                return Err(RuleError::NoPorts { rule: rule(), protocol: protocol.to_string() });
            }
            if selector.connections.is_some() && protocol.number() != 6 {
                return Err(RuleError::NoConnections {
                    rule: rule(),
                    protocol: protocol.to_string(),
                });
            }
        }
        Ok(())
    }
}

impl Loss {
    /// Mode and parameters as the kernel side takes them.
    pub(crate) fn encode(self) -> (u8, [u64; 4]) {
        match self {
            Self::Always => (loss::ALWAYS, [0; 4]),
            Self::Random(chance) => (loss::RANDOM, [fraction(chance), 0, 0, 0]),
            Self::Exact(share) => (loss::EXACT, [u64::from(share.ppb()), 0, 0, 0]),
            Self::EveryNth(n) => (loss::EVERY_NTH, [u64::from(n), 0, 0, 0]),
            Self::GilbertElliott { p, r, loss_in_bad, loss_in_good } => {
                (loss::GILBERT_ELLIOTT, [p, r, loss_in_bad, loss_in_good].map(fraction))
            }
        }
    }
}

/// A share in 2^-32, as the kernel side compares it.
pub fn fraction(share: Percent) -> u64 {
    const PPB: u64 = 1_000_000_000;
    (u64::from(share.ppb()) * ALL + PPB / 2) / PPB
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protect => f.write_str("protect"),
            Self::Drop(loss) => write!(f, "drop {loss}"),
            Self::Reject(Reject { answer, errno }) => {
                f.write_str(match answer {
                    Answer::Auto => "reject with RST or ICMP port unreachable",
                    Answer::PortUnreachable => "reject with ICMP port unreachable",
                    Answer::HostUnreachable => "reject with ICMP host unreachable",
                    Answer::NetUnreachable => "reject with ICMP network unreachable",
                    Answer::AdminProhibited => "reject with ICMP administratively prohibited",
                })?;
                errno.map_or(Ok(()), |errno| write!(f, ", connect gives {errno}"))
            }
            Self::Police(police) => police.fmt(f),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Duplicate(duplicate) => duplicate.fmt(f),
            Self::Detour(detour) => detour.fmt(f),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("every packet"),
            Self::Random(chance) => write!(f, "{chance} of packets at random"),
            Self::Exact(share) => write!(f, "exactly {share} of packets"),
            Self::EveryNth(n) => write!(f, "one packet in {n}"),
            Self::GilbertElliott { p, r, loss_in_bad, loss_in_good } => write!(
                f,
                "in bursts (good→bad {p}, bad→good {r}, loss {loss_in_bad} in bad, {loss_in_good} in good)"
            ),
        }
    }
}
