//! Which packets a rule is about.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::experiment::units::{Direction, Percent, PortRange, Prefix, Protocol};

/// Chooses packets. All parts must hold; a part that is empty or absent holds for every packet,
/// and of the values listed in one part any may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// Seen from the host or namespace that the rule is in.
    pub direction: Direction,
    /// Device names; empty is every device the local stack uses.
    pub devices: Vec<String>,
    /// IP protocol.
    pub protocol: Option<Protocol>,
    /// This side's addresses.
    pub local: Vec<Prefix>,
    /// This side's ports; names TCP, UDP, SCTP and DCCP only.
    pub local_ports: Vec<PortRange>,
    /// The other side's addresses.
    pub remote: Vec<Prefix>,
    /// The other side's ports.
    pub remote_ports: Vec<PortRange>,
    /// Sockets of this cgroup and its descendants.
    pub cgroup: Option<CgroupRef>,
    /// A stable share of all flows, the same at both ends for the same seed.
    pub flows: Option<Percent>,
    /// Age of TCP connections.
    pub connections: Option<Connections>,
}

/// A cgroup (v2) as the kernel compares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRef {
    /// Its folder.
    pub path: PathBuf,
    /// Its id: the folder's inode number.
    pub id: u64,
    /// Depth below the root, which is 0.
    pub level: u8,
}

/// TCP connections by age, seen from the moment the fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connections {
    /// Whose handshake began after that.
    New,
    /// That were there before.
    Established,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            direction,
            devices,
            protocol,
            local,
            local_ports,
            remote,
            remote_ports,
            cgroup,
            flows,
            connections,
        } = self;
        write!(f, "direction {direction}")?;
        if !devices.is_empty() {
            write!(f, ", device {}", devices.join(" or "))?;
        }
        if let Some(protocol) = protocol {
            write!(f, ", protocol {protocol}")?;
        }
        list(f, "local", local)?;
        list(f, "local port", local_ports)?;
        list(f, "remote", remote)?;
        list(f, "remote port", remote_ports)?;
        if let Some(cgroup) = cgroup {
            write!(f, ", cgroup {}", cgroup.path.display())?;
        }
        if let Some(flows) = flows {
            write!(f, ", {flows} of flows")?;
        }
        match connections {
            Some(Connections::New) => f.write_str(", new connections"),
            Some(Connections::Established) => f.write_str(", established connections"),
            None => Ok(()),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, values: &[T]) -> fmt::Result {
    let mut values = values.iter();
    let Some(first) = values.next() else { return Ok(()) };
    write!(f, ", {name} {first}")?;
    values.try_for_each(|value| write!(f, " or {value}"))
}
