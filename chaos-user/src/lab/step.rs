//! What building a lab consists of, told one by one.

use std::fmt;

/// The next thing that building a lab will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Make the folder for files, data and logs.
    Folder,
    /// Make the PID namespace for the processes.
    Contain,
    /// Make the switch of a network.
    Network(&'a str),
    /// Make the namespace of a node.
    Node(&'a str),
    /// Join a node to a network.
    Join {
        /// The node.
        node: &'a str,
        /// The network.
        network: &'a str,
    },
    /// Wait until the ports of a network carry traffic.
    Settle(&'a str),
    /// Add the routes of a node and write its `/etc/hosts`.
    Routes(&'a str),
    /// Start a process.
    Start {
        /// The node.
        node: &'a str,
        /// The process.
        process: &'a str,
    },
    /// Wait until a process is ready.
    Ready {
        /// The node.
        node: &'a str,
        /// The process.
        process: &'a str,
    },
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("making the folder"),
            Self::Contain => f.write_str("making the PID namespace"),
            Self::Network(network) => write!(f, "making network {network}"),
            Self::Node(node) => write!(f, "making node {node}"),
            Self::Join { node, network } => write!(f, "joining {node} to {network}"),
            Self::Settle(network) => write!(f, "waiting for network {network}"),
            Self::Routes(node) => write!(f, "routing on {node}"),
            Self::Start { node, process } => write!(f, "starting {process} on {node}"),
            Self::Ready { node, process } => write!(f, "waiting for {process} on {node}"),
        }
    }
}
