//! What a lab is to be: the checked form of a lab file.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::check;
use super::document::LabDocument;
use super::spec_error::SpecError;

/// The most networks one lab may have.
pub const MAX_NETWORKS: usize = 32;
/// The most nodes one lab may have.
pub const MAX_NODES: usize = 250;
/// The most networks one node may be on.
pub const MAX_ATTACHMENTS: usize = 8;
/// The most processes one node may run.
pub const MAX_PROCESSES: usize = 16;
/// The smallest filesystem that a process may have, in bytes.
pub(super) const MIN_DISK: u64 = 64 << 10;
/// The largest filesystem that a process may have, in bytes: it is memory of this host.
pub(super) const MAX_DISK: u64 = 1 << 30;
/// The largest lab file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// A lab: networks, the nodes on them, and the processes on those. Always consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabSpec {
    pub(super) name: String,
    pub(super) networks: Vec<NetworkSpec>,
    pub(super) nodes: Vec<NodeSpec>,
}

/// One broadcast domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name: a DNS label.
    pub name: String,
    /// Its IPv4 prefix, if it speaks IPv4.
    pub v4: Option<Ipv4Net>,
    /// Its IPv6 prefix, if it speaks IPv6.
    pub v6: Option<Ipv6Net>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name: a DNS label that resolves inside the lab.
    pub name: String,
    /// The networks it is on, in the order of its devices `eth0`, `eth1`, ….
    pub attachments: Vec<AttachmentSpec>,
    /// Whether it forwards packets between its networks.
    pub forward: bool,
    /// What runs on it, in the order of starting.
    pub processes: Vec<ProcessSpec>,
}

/// One node on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentSpec {
    /// Which network, as an index into [`LabSpec::networks`].
    pub network: usize,
    /// The IPv4 address it must have, if the file says so.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address it must have, if the file says so.
    pub v6: Option<Ipv6Addr>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSpec {
    /// Its name, unique on its node.
    pub name: String,
    /// The program and its arguments, with their placeholders.
    pub command: Vec<String>,
    /// What is added to the environment, with placeholders in the values.
    pub env: Vec<(String, String)>,
    /// The size of a filesystem of its own for its data, in bytes; if `None`, its data is an
    /// ordinary folder of this host.
    pub disk: Option<u64>,
    /// When it counts as up.
    pub ready: Ready,
    /// What follows when it ends by itself.
    pub restart: Restart,
}

/// When a process counts as up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// As soon as it runs.
    Started,
    /// When a TCP connection succeeds.
    Tcp {
        /// A node of the lab, or an address.
        host: String,
        /// The port.
        port: u16,
        /// How long it may take.
        within: Duration,
    },
    /// When an HTTP GET is answered with a 2xx status.
    Http {
        /// An `http` URL whose host is a node of the lab, or an address.
        url: String,
        /// How long it may take.
        within: Duration,
    },
}

/// What follows when a process ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Restart {
    /// Nothing; it stays ended.
    #[default]
    Never,
    /// It is started again unless it ended with exit code 0.
    OnFailure,
    /// It is started again.
    Always,
}

impl LabSpec {
    /// Reads and checks a lab file.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let failed = |source| SpecError::Unreadable { path: path.into(), source };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > MAX_FILE {
            return Err(SpecError::TooLarge { path: path.into(), size });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, path)
    }

    /// Reads and checks the text of a lab file; `origin` is the name that errors give it.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, SpecError> {
        let document: LabDocument = crate::experiment::yaml::read(text)
            .map_err(|error| SpecError::from_yaml(&error, PathBuf::from(origin)))?;
        Self::from_document(&document, origin)
    }

    /// Checks a document that was part of another file.
    pub fn from_document(document: &LabDocument, origin: &Path) -> Result<Self, SpecError> {
        check::check(document)
            .map_err(|(place, problem)| SpecError::invalid(origin.into(), place, problem))
    }

    /// Its name: a DNS label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same lab under another name, so that two can be up at once.
    pub fn renamed(mut self, name: &str) -> Result<Self, SpecError> {
        check::label("lab", name)
            .map_err(|problem| SpecError::Name { name: name.into(), problem })?;
        self.name = name.into();
        Ok(self)
    }

    /// Its networks, in the order of the file.
    pub fn networks(&self) -> &[NetworkSpec] {
        &self.networks
    }

    /// Its nodes, in the order of the file.
    pub fn nodes(&self) -> &[NodeSpec] {
        &self.nodes
    }
}
