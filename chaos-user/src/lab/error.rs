//! Why a lab did not come up, or could not be used.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::spec_error::nearest;
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netns::{NetNsError, NetNsId};
use crate::target::{Exit, ProcessError};

/// Why a lab did not come up, or could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A namespace could not be made or entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    /// A device, address or route could not be made.
    #[error("{place}: {source}")]
    Netlink {
        /// The node or network.
        place: String,
        /// What failed.
        source: NetlinkError,
    },
    /// A process could not be started or stopped.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A network setting could not be written.
    #[error("{place}: cannot set {key} to {value}: {source}")]
    Sysctl {
        /// The node or network.
        place: String,
        /// The setting, as `sysctl` names it.
        key: String,
        /// The value.
        value: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel has no IPv6, and the lab uses it.
    #[error(
        "network {network:?} uses IPv6, which this kernel has switched off; \
         give the network only a v4 prefix or boot without ipv6.disable=1"
    )]
    NoIpv6 {
        /// The network.
        network: String,
    },
    /// A file of the lab could not be written or removed.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A change was about to be made in the host's own namespace. It was not made.
    #[error("refused to change {id}, which is the host's own network namespace (this is a bug)")]
    HostNamespace {
        /// The namespace.
        id: NetNsId,
    },
    /// A process ended before it was ready.
    #[error(
        "process {process:?} of node {node:?} ended with {exit} before it was ready{}",
        tail(log)
    )]
    Died {
        /// The node.
        node: String,
        /// The process.
        process: String,
        /// How it ended.
        exit: Exit,
        /// The last lines that it wrote.
        log: Vec<String>,
    },
    /// A process ran but was not ready in time.
    #[error(
        "process {process:?} of node {node:?} was not ready within {within:?}: {last}{}",
        tail(log)
    )]
    NotReady {
        /// The node.
        node: String,
        /// The process.
        process: String,
        /// How long was waited.
        within: Duration,
        /// What the last attempt said.
        last: Box<ReadyError>,
        /// The last lines that it wrote.
        log: Vec<String>,
    },
    /// Building was called off.
    #[error("called off: {step} was next")]
    Cancelled {
        /// What would have come next, or was going on.
        step: String,
    },
    /// No node has this name.
    #[error("lab {lab:?} has no node {name:?}{}", did_you_mean(name, known))]
    UnknownNode {
        /// The lab.
        lab: String,
        /// What was asked for.
        name: String,
        /// Every node.
        known: Vec<String>,
    },
    /// No process has this name.
    #[error("node {node:?} has no process {name:?}{}", did_you_mean(name, known))]
    UnknownProcess {
        /// The node.
        node: String,
        /// What was asked for.
        name: String,
        /// Every process of the node.
        known: Vec<String>,
    },
}

/// Why an attempt to reach a process failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// Nothing was attempted yet.
    #[error("no attempt was finished")]
    NoAttempt,
    /// The host has no address that can be reached from here.
    #[error("{host:?} has no address that this node can reach")]
    NoAddress {
        /// The host.
        host: String,
    },
    /// A TCP connection failed.
    #[error("connecting to {address} port {port} failed: {source}")]
    Tcp {
        /// Where to.
        address: IpAddr,
        /// Which port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// An attempt took too long.
    #[error("an attempt took longer than {0:?}")]
    Slow(Duration),
    /// An HTTP request failed.
    #[error("GET {url} failed: {}", innermost(source))]
    Http {
        /// The URL.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An HTTP request was answered, with a status that is no success.
    #[error("GET {url} was answered with status {status}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
}

/// An HTTP client wraps the cause in sentences that say less than it does.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn tail(log: &[String]) -> String {
    if log.is_empty() {
        return "; it wrote nothing".into();
    }
    format!("; it wrote last:\n  {}", log.join("\n  "))
}

fn did_you_mean(name: &str, known: &[String]) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None if known.is_empty() => "; it has none".into(),
        None => format!("; it has {}", known.join(", ")),
    }
}
