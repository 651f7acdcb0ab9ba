//! Nodes that are network namespaces of somebody else.

use std::net::IpAddr;

use indexmap::IndexMap;

use crate::experiment::Variables;
use crate::kernel::netlink::{Netlink, NetlinkError};
use crate::kernel::netns::{NetNs, NetNsError};

/// Network namespaces that exist already, by the names that an experiment gives them.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(IndexMap<String, Node>);

#[derive(Debug, Clone)]
struct Node {
    netns: NetNs,
    addresses: Vec<IpAddr>,
}

/// Why one of them cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespacesError {
    /// It cannot be entered.
    #[error("`target.namespaces`: {node}: {source}")]
    Open {
        /// Its name in the experiment.
        node: String,
        /// Why not.
        #[source]
        source: NetNsError,
    },
    /// It does not tell its addresses.
    #[error("`target.namespaces`: {node}: {source}")]
    Addresses {
        /// Its name in the experiment.
        node: String,
        /// Why not.
        #[source]
        source: NetlinkError,
    },
}

impl Namespaces {
    /// Opens each: the name of a namespace below /run/netns, the number of a process, or a path. They
    /// may hold `${name}`.
    pub fn open(
        named: &IndexMap<String, String>,
        variables: &Variables,
    ) -> Result<Self, NamespacesError> {
        let mut nodes = IndexMap::new();
        for (node, place) in named {
            let open = |source| NamespacesError::Open { node: node.clone(), source };
            let netns = NetNs::parse(&variables.fill_text(place)).map_err(open)?;
            let addresses = netns
                .block_on(|| async { Netlink::open()?.addresses().await })
                .map_err(open)?
                .map_err(|source| NamespacesError::Addresses { node: node.clone(), source })?;
            let addresses = addresses.iter().map(|one| one.address.addr()).filter(reachable);
            let addresses = addresses.collect();
            nodes.insert(node.clone(), Node { netns, addresses });
        }
        Ok(Self(nodes))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them.
    pub fn netns(&self, node: &str) -> Option<&NetNs> {
        self.0.get(node).map(|node| &node.netns)
    }

    /// The addresses that others reach it by; none if there is no such node.
    pub fn addresses(&self, node: &str) -> Vec<IpAddr> {
        self.0.get(node).map_or_else(Vec::new, |node| node.addresses.clone())
    }

    /// Their names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Whether an address means the same host to others.
fn reachable(address: &IpAddr) -> bool {
    let only_here = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !only_here
}
