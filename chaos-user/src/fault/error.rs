//! Why a fault could not be started or taken back.

use super::{DetourError, JournalError, LockedOut, RootNetemError};
use crate::exit::Exit;
use crate::host::CgroupError;
use crate::kernel::bpf::BpfError;
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netns::NetNsError;
use crate::plan::CompileError;

/// A fault that was not started (nothing is left behind), or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The rules make no sense, or do not fit.
    #[error(transparent)]
    Plan(#[from] CompileError),
    /// A device that the rules name.
    #[error("there is no device `{name}` in {namespace}{}; it has {}", nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?")), known.join(", "))]
    NoDevice {
        /// What was named.
        name: String,
        /// Where.
        namespace: String,
        /// The most similar one.
        nearest: Option<String>,
        /// What is there.
        known: Vec<String>,
    },
    /// A device that is down carries nothing.
    #[error(
        "the device `{name}` is down, so nothing would be hit; set it up first, or choose another"
    )]
    DeviceDown {
        /// What was named.
        name: String,
    },
    /// No device at all.
    #[error("no device in {namespace} is up, so nothing would be hit")]
    NoDevices {
        /// Where.
        namespace: String,
    },
    /// cgroup selection.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// BPF.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Namespaces.
    #[error(transparent)]
    Namespace(#[from] NetNsError),
    /// Without an undo record on disk nothing is touched.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A whole device's netem.
    #[error(transparent)]
    RootNetem(#[from] RootNetemError),
    /// Packets could not be sent on a detour.
    #[error(transparent)]
    Detour(#[from] DetourError),
    /// The operator would be cut off.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
    /// After healing, something of ours is still there.
    #[error("could not put everything back: {}; run `chaos heal`", left.join("; "))]
    NotHealed {
        /// What is left.
        left: Vec<String>,
    },
    /// A thread could not be started.
    #[error("start the thread that keeps the lease: {0}")]
    Thread(#[source] std::io::Error),
    /// A thread could not be started.
    #[error("start the thread that lets the fault grow: {0}")]
    Ramp(#[source] std::io::Error),
}

impl FaultError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cgroup(CgroupError::NotMounted)
            | Self::LockedOut(_)
            | Self::NoDevices { .. }
            | Self::Bpf(_)
            | Self::Netlink(_)
            | Self::Namespace(_) => Exit::HostUnable,
            Self::Plan(_) | Self::NoDevice { .. } | Self::DeviceDown { .. } | Self::Cgroup(_) => {
                Exit::Usage
            }
            Self::Journal(_) | Self::Thread(_) | Self::Ramp(_) => Exit::ToolFailed,
            Self::RootNetem(error) => error.exit(),
            Self::Detour(error) => error.exit(),
            Self::NotHealed { .. } => Exit::NotHealed,
        }
    }
}
