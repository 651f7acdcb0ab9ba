//! What somebody wants installed: validated values in real units, and the bytes for them.

mod htb;
mod loss;
mod netem;
mod netem_part;
mod netem_text;
mod netem_wire;
mod prio;
mod tbf;

use netlink_packet_core::{DecodeError, Parseable as _};
use serde::{Deserialize, Serialize};

pub use self::htb::{HtbClass, HtbQdisc};
pub use self::loss::Loss;
pub use self::netem::{Chance, Distribution, Netem, NetemRate, Reorder, Slot, SlotSpacing};
pub use self::prio::Prio;
pub use self::tbf::{PeakRate, Tbf};
use super::codec::{
    TcClassHtb, TcQdiscClsact, TcQdiscHtb, TcQdiscNetem, TcQdiscPrio, TcQdiscTbf, to_bytes,
};
use super::compare::ReadBack;

/// A setting that no kernel can carry out, found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {what} {value} {problem}")]
pub struct InvalidQdisc {
    /// The kind of qdisc.
    pub kind: &'static str,
    /// Which setting.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it, and the range.
    pub problem: &'static str,
}

/// Whether a request makes a new qdisc or alters the one that is there, whose left-out attributes
/// would then survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// A new one.
    Fresh,
    /// An existing one.
    Change,
}

/// A qdisc to install.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum QdiscSpec {
    /// Delay, loss, duplication, corruption, reordering, rate.
    Netem(Box<Netem>),
    /// Priority bands.
    Prio(Prio),
    /// A token bucket.
    Tbf(Tbf),
    /// Classes that share a rate.
    Htb(HtbQdisc),
    /// A place for classifiers; it queues nothing.
    Clsact,
}

impl QdiscSpec {
    /// `TCA_KIND`
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Netem(_) => TcQdiscNetem::KIND,
            Self::Prio(_) => TcQdiscPrio::KIND,
            Self::Tbf(_) => TcQdiscTbf::KIND,
            Self::Htb(_) => TcQdiscHtb::KIND,
            Self::Clsact => TcQdiscClsact::KIND,
        }
    }

    /// The value of `TCA_OPTIONS`, with every attribute that the kernel would otherwise keep from
    /// before. `None` for a kind that has none.
    pub fn options(&self, write: Write) -> Result<Option<Vec<u8>>, InvalidQdisc> {
        Ok(match self {
            Self::Netem(netem) => Some(to_bytes(&netem.to_wire(write)?)),
            Self::Prio(prio) => Some(to_bytes(&prio.to_wire()?)),
            Self::Tbf(tbf) => Some(to_bytes(&tbf.to_wire()?)),
            Self::Htb(htb) => Some(to_bytes(&htb.to_wire())),
            Self::Clsact => None,
        })
    }

    /// Compares with the value of `TCA_OPTIONS` in a dump.
    pub fn compare(&self, dumped: Option<&[u8]>) -> Result<ReadBack, DecodeError> {
        let bytes = dumped.unwrap_or_default();
        Ok(match self {
            Self::Netem(netem) => netem.compare(&TcQdiscNetem::parse(bytes)?),
            Self::Prio(prio) => prio.compare(&TcQdiscPrio::parse(bytes)?),
            Self::Tbf(tbf) => tbf.compare(&TcQdiscTbf::parse(bytes)?),
            Self::Htb(htb) => htb.compare(&TcQdiscHtb::parse(bytes)?),
            Self::Clsact => ReadBack::default(),
        })
    }
}

impl From<Netem> for QdiscSpec {
    fn from(netem: Netem) -> Self {
        Self::Netem(Box::new(netem))
    }
}

/// A class to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum ClassSpec {
    /// Of an htb qdisc.
    Htb(HtbClass),
}

impl ClassSpec {
    /// `TCA_KIND`
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Htb(_) => TcClassHtb::KIND,
        }
    }

    /// The value of `TCA_OPTIONS`.
    pub fn options(&self) -> Result<Vec<u8>, InvalidQdisc> {
        match self {
            Self::Htb(class) => Ok(to_bytes(&class.to_wire()?)),
        }
    }

    /// Compares with the value of `TCA_OPTIONS` in a dump.
    pub fn compare(&self, dumped: Option<&[u8]>) -> Result<ReadBack, DecodeError> {
        match self {
            Self::Htb(class) => Ok(class.compare(&TcClassHtb::parse(dumped.unwrap_or_default())?)),
        }
    }
}
