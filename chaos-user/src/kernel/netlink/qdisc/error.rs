//! What can go wrong, and on what.

use std::fmt;
use std::io;

use netlink_packet_core::DecodeError;
use nix::errno::Errno;

use super::compare::Mismatch;
use super::handle::Handle;
use super::spec::InvalidQdisc;

/// What was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Make a new one.
    Add,
    /// Put a new one in the place of what is there.
    Replace,
    /// Alter what is there.
    Change,
    /// Take away.
    Delete,
    /// List.
    Dump,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Dump => "list",
        })
    }
}

/// On what: a qdisc or a class of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `qdisc` or `class`.
    pub object: &'static str,
    /// Its kind, where that is known.
    pub kind: String,
    /// Index of the device; 0 for all of them.
    pub device: u32,
    /// Where it hangs.
    pub parent: Handle,
    /// Its own handle.
    pub handle: Handle,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind, device, parent, handle } = self;
        if *device == 0 {
            return write!(f, "{object} on every device");
        }
        let space = if kind.is_empty() { "" } else { " " };
        write!(f, "{object}{space}{kind} {handle} at {parent} of device #{device}")
    }
}

/// Why an operation on qdiscs or classes failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QdiscError {
    /// The netlink socket could not be opened.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The request could not be sent or the answer not received.
    #[error("cannot {operation} {target}: netlink: {source}")]
    Transport {
        /// What was attempted.
        operation: Operation,
        /// On what.
        target: Box<Target>,
        /// Why.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("cannot {operation} {target}: the kernel's answer is malformed: {source}")]
    Malformed {
        /// What was attempted.
        operation: Operation,
        /// On what.
        target: Box<Target>,
        /// Why.
        source: DecodeError,
    },
    /// The list changed while it was read, again and again.
    #[error("cannot {operation} {target}: it kept changing while it was read; try again")]
    Unsteady {
        /// What was attempted.
        operation: Operation,
        /// On what.
        target: Box<Target>,
    },
    /// The kernel has no such kind of qdisc.
    #[error(
        "this kernel has no sch_{kind}{}; use a kernel that has it (or load the module), or a \
         backend that does without",
        said(message)
    )]
    Unsupported {
        /// The kind.
        kind: String,
        /// The kernel's own words.
        message: String,
    },
    /// The kernel refused.
    #[error("cannot {operation} {target}: {errno}{}", said(message))]
    Refused {
        /// What was attempted.
        operation: Operation,
        /// On what.
        target: Box<Target>,
        /// The error number.
        errno: Errno,
        /// The kernel's own words; empty if it has none.
        message: String,
    },
    /// A setting is out of range; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidQdisc),
    /// The kernel accepted the request, but its dump says something else.
    #[error("{target} was accepted but not applied: {}", list(mismatches))]
    NotApplied {
        /// What was to be there.
        target: Box<Target>,
        /// Everything that is wrong.
        mismatches: Vec<Mismatch>,
    },
}

impl QdiscError {
    /// Whether the kernel lacks this kind of qdisc.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message:?})") }
}

fn list(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
