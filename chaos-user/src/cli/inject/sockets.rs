//! Which live sockets a fault would hit.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Context as _;
use chaos_common::decide::{Endpoints, flow_chosen, flow_hash};

use crate::experiment::units::{PortRange, Prefix};
use crate::fault::NetworkFault;
use crate::host::Cgroups;
use crate::kernel::netlink::sockets::{SocketEntry, connected_sockets};
use crate::plan::{Action, Connections, Selector, share_of_flows};

/// Sockets with a peer that some rule of the fault chooses and no protecting rule exempts, and how
/// many sockets with a peer there are. A socket's device is decided packet by packet, so devices are
/// not looked at.
pub(super) fn hit_by(fault: &NetworkFault) -> anyhow::Result<(Vec<SocketEntry>, usize)> {
    let all = fault.netns.run(connected_sockets)?.context("list sockets (sock_diag)")?;
    let there = all.len();
    let mut hit = Vec::new();
    let mut members = Vec::new();
    for rule in &fault.rules {
        members.push(match &rule.selector.cgroup {
            Some(cgroup) => Some(socket_inodes(&Cgroups::find()?.processes(&cgroup.path)?)),
            None => None,
        });
    }
    for socket in all {
        let mut chosen = false;
        let mut protected = false;
        for (rule, members) in fault.rules.iter().zip(&members) {
            let matches = matches(&rule.selector, &socket, fault.seed)
                && members.as_ref().is_none_or(|inodes| inodes.contains(&socket.inode));
            match rule.action {
                Action::Protect => protected |= matches,
                _ => chosen |= matches,
            }
        }
        if chosen && !protected {
            hit.push(socket);
        }
    }
    Ok((hit, there))
}

fn matches(selector: &Selector, socket: &SocketEntry, seed: u64) -> bool {
    let Selector {
        direction: _,
        devices: _,
        protocol,
        local,
        local_ports,
        remote,
        remote_ports,
        cgroup: _,
        flows,
        connections,
    } = selector;
    let inside = |prefixes: &[Prefix], address| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(address))
    };
    let among = |ranges: &[PortRange], port| {
        ranges.is_empty() || ranges.iter().any(|range| range.contains(port))
    };
    // Whatever is in the table was there before the fault.
    *connections != Some(Connections::New)
        && (*connections != Some(Connections::Established) || socket.protocol == 6)
        && protocol.is_none_or(|protocol| protocol.number() == socket.protocol)
        && inside(local, socket.local.0)
        && inside(remote, socket.remote.0)
        && among(local_ports, socket.local.1)
        && among(remote_ports, socket.remote.1)
        && flows.is_none_or(|share| {
            flow_chosen(flow_hash(seed, &endpoints(socket)), share_of_flows(share))
        })
}

fn endpoints(socket: &SocketEntry) -> Endpoints {
    Endpoints {
        local: words(socket.local.0),
        remote: words(socket.remote.0),
        local_port: socket.local.1,
        remote_port: socket.remote.1,
        protocol: socket.protocol,
    }
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            std::array::from_fn(|i| {
                let at = i * 4;
                u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
            })
        }
    }
}

/// Inodes of the sockets that these processes hold.
fn socket_inodes(pids: &[u32]) -> BTreeSet<u32> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for entry in entries.flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
            });
            inodes.extend(inode);
        }
    }
    inodes
}
