//! Why packets could not be sent on a detour.

use crate::exit::Exit;
use crate::kernel::bpf::BpfError;
use crate::kernel::delay_line::{DelayLineError, InvalidSetting, Slot};
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netlink::qdisc::{InvalidQdisc, QdiscError, TreeError};
use crate::kernel::netns::NetNsError;

/// Why packets could not be sent on a detour. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum DetourError {
    /// The kernel's way of holding packets is missing.
    #[error("--backend netem: {0}; --backend delay-line (or auto) holds packets without it")]
    NoNetem(#[source] QdiscError),
    /// Nothing can hold packets here.
    #[error("nothing can hold packets here: the kernel has no sch_netem, and {0}")]
    NoHolder(#[source] DelayLineError),
    /// netem could not be set up.
    #[error("set up the netem detour: {0}")]
    Tree(#[from] TreeError),
    /// The qdisc socket.
    #[error("set up the netem detour: {0}")]
    Qdisc(#[from] QdiscError),
    /// netem cannot hold this.
    #[error("--backend netem cannot do this: {0}")]
    NotByNetem(#[from] InvalidQdisc),
    /// netem has no means for this.
    #[error("--backend netem cannot {0}; --backend delay-line (or auto) can")]
    OnlyLine(&'static str),
    /// An option of the delay line is out of range.
    #[error("the delay line cannot have `{what}` {given}; it is {wanted}")]
    Option {
        /// Which one.
        what: &'static str,
        /// What was asked for.
        given: String,
        /// What can be.
        wanted: &'static str,
    },
    /// The delay line.
    #[error(transparent)]
    Line(#[from] DelayLineError),
    /// The delay line cannot hold this.
    #[error("the delay line cannot do this: {0}")]
    NotByLine(#[from] InvalidSetting),
    /// Each rule needs a slot for each device and direction.
    #[error(
        "{needed} ways (delaying rules × devices × directions), and {} fit; name fewer devices with \
         --dev, or one direction", Slot::MAX.get()
    )]
    TooMany {
        /// How many.
        needed: usize,
    },
    /// A setting of the kernel.
    #[error("{operation} net.{name}: {source}")]
    Sysctl {
        /// `read` or `write`.
        operation: &'static str,
        /// Its name, with slashes.
        name: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// Devices.
    #[error("set up the detour: {0}")]
    Netlink(#[from] NetlinkError),
    /// Namespaces.
    #[error("set up the detour: {0}")]
    Namespace(#[from] NetNsError),
    /// Programs.
    #[error("set up the detour: {0}")]
    Bpf(#[from] BpfError),
    /// The thread that lets it grow.
    #[error("start the thread that lets the fault grow: {0}")]
    Thread(#[source] std::io::Error),
}

impl DetourError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotByNetem(_)
            | Self::NotByLine(_)
            | Self::OnlyLine(_)
            | Self::Option { .. }
            | Self::TooMany { .. } => Exit::Usage,
            Self::Thread(_) => Exit::ToolFailed,
            _ => Exit::HostUnable,
        }
    }
}
