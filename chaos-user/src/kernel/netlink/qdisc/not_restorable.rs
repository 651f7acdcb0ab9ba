//! What stands against putting a snapshot back.

use super::handle::Handle;

/// Why a snapshot could not be put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRestorable {
    /// The kernel would now make another default than it made for this device.
    #[error(
        "the device has the kernel's default {have}, but the default is {default} by now; taking \
         our qdisc away would not bring {have} back"
    )]
    DefaultChanged {
        /// What the device has.
        have: String,
        /// What it would get.
        default: String,
    },
    /// The kind keeps more than a dump tells, or is not known to this program.
    #[error("a {kind} ({handle}) cannot be made again from what the kernel tells about it")]
    Kind {
        /// Which kind.
        kind: String,
        /// Which qdisc.
        handle: Handle,
    },
    /// A netem whose distribution table, if it has one, no kernel tells.
    #[error("netem {handle} has jitter, and the kernel does not tell its distribution table")]
    UnknownTable {
        /// Which qdisc.
        handle: Handle,
    },
    /// Filters steer packets into its classes.
    #[error("{count} filters hang on {handle} or its classes, which are not stored")]
    Filters {
        /// How many.
        count: usize,
        /// On which qdisc.
        handle: Handle,
    },
    /// A size table is set.
    #[error("{kind} {handle} has a size table (stab), of which the kernel tells only a part")]
    SizeTable {
        /// Which kind.
        kind: String,
        /// Which qdisc.
        handle: Handle,
    },
    /// The device does the work of the qdisc.
    #[error("{kind} {handle} is offloaded to the device")]
    Offloaded {
        /// Which kind.
        kind: String,
        /// Which qdisc.
        handle: Handle,
    },
    /// A rehearsal in a namespace of its own did not give the same dump.
    #[error("making it again was rehearsed, and {what}")]
    Rehearsal {
        /// What came out.
        what: String,
    },
}
