//! A node of a lab that is up.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::error::LabError;
use super::net::OwnNetNs;
use crate::kernel::netns::NetNs;
use crate::target::{Process, Surroundings};

/// A node of a lab that is up.
#[derive(Debug)]
pub struct LabNode {
    pub(super) name: String,
    pub(super) own: OwnNetNs,
    pub(super) devices: Vec<LabDevice>,
    pub(super) processes: Vec<Process>,
    pub(super) surroundings: Surroundings,
}

/// A device of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDevice {
    /// Its name on the node.
    pub name: String,
    /// Its number on the node.
    pub index: u32,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// The network that it is on.
    pub network: String,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Net>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Net>,
}

impl LabNode {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn netns(&self) -> &NetNs {
        self.own.netns()
    }

    /// Its devices, one per network.
    pub fn devices(&self) -> &[LabDevice] {
        &self.devices
    }

    /// Its device on a network.
    pub fn device_on(&self, network: &str) -> Option<&LabDevice> {
        self.devices.iter().find(|device| device.network == network)
    }

    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.devices.iter().flat_map(|device| {
            let v4 = device.v4.map(|net| IpAddr::V4(net.addr()));
            let v6 = device.v6.map(|net| IpAddr::V6(net.addr()));
            [v4, v6].into_iter().flatten()
        })
    }

    /// Its processes, in the order of starting.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// What its processes see around them.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Its process of this name.
    pub fn process(&self, name: &str) -> Result<&Process, LabError> {
        self.processes.iter().find(|process| process.name() == name).ok_or_else(|| {
            LabError::UnknownProcess {
                node: self.name.clone(),
                name: name.into(),
                known: self.processes.iter().map(|process| process.name().to_owned()).collect(),
            }
        })
    }
}
