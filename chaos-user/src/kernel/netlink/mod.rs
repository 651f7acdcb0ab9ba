//! A small facade over rtnetlink: devices, addresses and routes of one network namespace.
//!
//! A [`Netlink`] speaks to the namespace of the thread that opened it, whatever happens to that
//! thread later; see [`NetNs::block_on`](crate::kernel::netns::NetNs::block_on).

mod addr;
mod filter;
mod link;
pub mod qdisc;
mod route;
pub mod sockets;

use std::io;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::task::JoinHandle;

pub use addr::Address;
pub use filter::BpfFilter;
pub use link::Link;

/// Why a request about devices, addresses or routes failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The netlink socket could not be opened.
    #[error("cannot open a netlink socket: {0}")]
    Connect(#[source] io::Error),
    /// No device of this name exists in the namespace.
    #[error("there is no device {name:?} in this network namespace (it has {})", known.join(", "))]
    NoDevice {
        /// What was asked for.
        name: String,
        /// Every device that exists.
        known: Vec<String>,
    },
    /// The kernel refused.
    #[error("cannot {operation} {object}: {}", errno.desc())]
    Refused {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel's answer was not understood, or the socket broke.
    #[error("cannot {operation} {object}: {source}")]
    Protocol {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        object: String,
        /// What went wrong.
        source: Box<rtnetlink::Error>,
    },
    /// Devices that should carry traffic did not say so in time.
    #[error("{} carried no traffic within {within:?}", devices.join(", "))]
    NotRunning {
        /// Those that did not.
        devices: Vec<String>,
        /// How long was waited.
        within: Duration,
    },
}

/// An open route socket. Needs a tokio runtime; closes when dropped.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    pump: JoinHandle<()>,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Connect)?;
        Ok(Self { handle, pump: tokio::spawn(connection) })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Says what was attempted on what, and picks the errno out of the kernel's answer.
fn refused(
    operation: &'static str,
    object: impl Into<String>,
) -> impl FnOnce(rtnetlink::Error) -> NetlinkError {
    let object = object.into();
    move |error| match error {
        rtnetlink::Error::NetlinkError(message) => NetlinkError::Refused {
            operation,
            object,
            errno: Errno::from_raw(message.raw_code().saturating_abs()),
        },
        other => NetlinkError::Protocol { operation, object, source: Box::new(other) },
    }
}

/// A message the kernel sent unasked, if it is about a device.
fn link_change(message: &RouteNetlinkMessage) -> bool {
    matches!(message, RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_))
}
