//! Why the delay line cannot start or go on.

use nix::errno::Errno;

use super::line::Slot;
use super::setting::InvalidSetting;
use crate::kernel::netns::NetNsError;

/// Why the delay line cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DelayLineError {
    /// The kernel has no TAP devices, or this environment hides them.
    #[error(
        "cannot open /dev/net/tun for the delay line: {}; load the tun module, or give the \
         container this device",
        errno.desc()
    )]
    NoTun {
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel did not make the TAP device.
    #[error("cannot create the TAP device {name} for the delay line: {}{}", errno.desc(), advice(*errno))]
    CreateTap {
        /// The name or its pattern.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The TAP device could not be prepared.
    #[error("cannot {operation} of the TAP device {name}: {}{}", errno.desc(), advice(*errno))]
    ConfigureTap {
        /// What was attempted.
        operation: &'static str,
        /// The device.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The network namespace could not be entered.
    #[error("cannot start the delay line: {0}")]
    NetNs(#[from] NetNsError),
    /// A kernel object that the worker waits with could not be made.
    #[error("cannot create the {what} that the delay line waits with: {}", errno.desc())]
    Wait {
        /// Which object.
        what: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The worker thread could not be started.
    #[error("cannot start the delay line's thread: {0}")]
    Thread(std::io::Error),
    /// The setting makes no sense.
    #[error("cannot use slot {} of the delay line: {source}", slot.get())]
    Setting {
        /// The slot.
        slot: Slot,
        /// Why.
        source: InvalidSetting,
    },
    /// The device that packets go back to does not exist in the line's namespace.
    #[error(
        "cannot use slot {} of the delay line: no device has index {ifindex} in its namespace",
        slot.get()
    )]
    NoTarget {
        /// The slot.
        slot: Slot,
        /// The interface index.
        ifindex: u32,
    },
    /// Somebody deleted the TAP device.
    #[error(
        "the delay line ended: its TAP device {name} was deleted; packets it held are lost, others \
         pass once the lease is stale"
    )]
    TapGone {
        /// The device.
        name: String,
    },
    /// The last device that packets go back to was deleted.
    #[error(
        "the delay line ended: the device with index {ifindex}, which its packets go back to, was \
         deleted"
    )]
    TargetGone {
        /// The interface index.
        ifindex: u32,
    },
    /// The TAP device could not be read.
    #[error("the delay line ended: cannot read from its TAP device {name}: {}", errno.desc())]
    Read {
        /// The device.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The worker could not wait for packets.
    #[error("the delay line ended: cannot wait for packets: {}", errno.desc())]
    Poll {
        /// What the kernel said.
        errno: Errno,
    },
    /// The worker thread is gone without having said why.
    #[error("the delay line's thread ended unexpectedly")]
    WorkerGone,
    /// The worker did not answer in time.
    #[error(
        "the delay line's thread did not answer within {0:?}; packets pass while it is silent. Is this \
         machine overloaded?"
    )]
    Stalled(std::time::Duration),
    /// The worker thread ended earlier.
    #[error("the delay line has ended; `stop` says why")]
    Ended,
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => " (this needs CAP_NET_ADMIN)",
        Errno::EBUSY => " (another process uses a device of this name)",
        Errno::ENOTTY => " (/dev/net/tun is something else here)",
        Errno::EINVAL => " (a device of another kind may have this name)",
        _ => "",
    }
}
