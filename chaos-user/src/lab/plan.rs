//! Who has which address, and which way leads where. Pure: no kernel, no clock, no randomness.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::spec::{LabSpec, NodeSpec};

/// Everything about a lab's networks that follows from its specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabPlan {
    /// One entry per node, in the order of the specification.
    pub nodes: Vec<NodePlan>,
}

/// The devices and routes of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// One per network, in the order of attachment.
    pub devices: Vec<DevicePlan>,
    /// The ways to the networks that it is not on.
    pub routes: Vec<RoutePlan>,
    /// The prefixes that those ways lead to; a default route alone would promise too much.
    pub reachable: Vec<IpNet>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    /// Its name inside the node: `eth0`, `eth1`, ….
    pub name: String,
    /// The network, as an index into the specification's.
    pub network: usize,
    /// Its IPv4 address with the network's prefix length.
    pub v4: Option<Ipv4Net>,
    /// Its IPv6 address with the network's prefix length.
    pub v6: Option<Ipv6Net>,
}

impl DevicePlan {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> + use<> {
        [self.v4.map(IpNet::V4), self.v6.map(IpNet::V6)].into_iter().flatten()
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    /// Where to; prefix length 0 is the default route.
    pub to: IpNet,
    /// The neighbour to send to.
    pub via: IpAddr,
    /// Through which of the node's devices.
    pub device: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl LabPlan {
    /// Plans a lab.
    ///
    /// Nodes take the lowest free address of each network in the order of the file; an address
    /// that the file gives is never given to another node.
    pub fn new(spec: &LabSpec) -> Self {
        let taken: HashSet<IpAddr> = spec
            .nodes
            .iter()
            .flat_map(|node| &node.attachments)
            .flat_map(|at| [at.v4.map(IpAddr::V4), at.v6.map(IpAddr::V6)])
            .flatten()
            .collect();
        let mut next_v4 = vec![1_u32; spec.networks.len()];
        let mut next_v6 = vec![1_u128; spec.networks.len()];
        let mut nodes: Vec<NodePlan> = Vec::with_capacity(spec.nodes.len());
        for node in &spec.nodes {
            let mut devices = Vec::with_capacity(node.attachments.len());
            for (at, attachment) in node.attachments.iter().enumerate() {
                let network = &spec.networks[attachment.network];
                let v4 = network.v4.map(|net| {
                    let address = attachment.v4.unwrap_or_else(|| {
                        lowest(&mut next_v4[attachment.network], &taken, |host| {
                            Ipv4Addr::from_bits(net.network().to_bits().wrapping_add(host))
                        })
                    });
                    Ipv4Net::new_assert(address, net.prefix_len())
                });
                let v6 = network.v6.map(|net| {
                    let address = attachment.v6.unwrap_or_else(|| {
                        lowest(&mut next_v6[attachment.network], &taken, |host| {
                            Ipv6Addr::from_bits(net.network().to_bits().wrapping_add(host))
                        })
                    });
                    Ipv6Net::new_assert(address, net.prefix_len())
                });
                devices.push(DevicePlan {
                    name: format!("eth{at}"),
                    network: attachment.network,
                    v4,
                    v6,
                });
            }
            nodes.push(NodePlan { devices, routes: Vec::new(), reachable: Vec::new() });
        }
        let mut plan = Self { nodes };
        for node in 0..spec.nodes.len() {
            for family in [Family::V4, Family::V6] {
                let ways = plan.ways(spec, node, family);
                plan.nodes[node].reachable.extend(ways.iter().map(|way| way.to));
                let routes = default_route(&spec.nodes[node], ways, family);
                plan.nodes[node].routes.extend(routes);
            }
        }
        plan
    }

    /// The address of a node's device in one family.
    fn address(&self, node: usize, network: usize, family: Family) -> Option<IpAddr> {
        let device = self.nodes[node].devices.iter().find(|device| device.network == network)?;
        match family {
            Family::V4 => device.v4.map(|net| IpAddr::V4(net.addr())),
            Family::V6 => device.v6.map(|net| IpAddr::V6(net.addr())),
        }
    }

    /// Breadth-first from the node's own networks over the forwarding nodes: the first way found
    /// is a shortest one, and ties go to what stands first in the file.
    fn ways(&self, spec: &LabSpec, node: usize, family: Family) -> Vec<RoutePlan> {
        let prefix = |network: usize| match family {
            Family::V4 => spec.networks[network].v4.map(IpNet::V4),
            Family::V6 => spec.networks[network].v6.map(IpNet::V6),
        };
        let mut first_hop: Vec<Option<(usize, IpAddr)>> = vec![None; spec.networks.len()];
        let mut seen = vec![false; spec.networks.len()];
        let mut queue = VecDeque::new();
        for (at, device) in self.nodes[node].devices.iter().enumerate() {
            if prefix(device.network).is_some() {
                seen[device.network] = true;
                queue.push_back((device.network, at, None));
            }
        }
        while let Some((network, device, hop)) = queue.pop_front() {
            for (router, router_spec) in spec.nodes.iter().enumerate() {
                if router == node || !router_spec.forward {
                    continue;
                }
                let Some(entry) = self.address(router, network, family) else { continue };
                let hop = hop.unwrap_or(entry);
                for beyond in self.nodes[router].devices.iter().map(|device| device.network) {
                    if !seen[beyond] && prefix(beyond).is_some() {
                        seen[beyond] = true;
                        first_hop[beyond] = Some((device, hop));
                        queue.push_back((beyond, device, Some(hop)));
                    }
                }
            }
        }
        first_hop
            .iter()
            .enumerate()
            .filter_map(|(network, hop)| {
                let (device, via) = (*hop)?;
                Some(RoutePlan { to: prefix(network)?, via, device })
            })
            .collect()
    }

    /// Whether `from` has a way to an address on `network`.
    fn reaches(&self, from: usize, address: IpNet) -> bool {
        let node = &self.nodes[from];
        node.devices
            .iter()
            .flat_map(DevicePlan::addresses)
            .any(|own| own.trunc() == address.trunc())
            || node.reachable.contains(&address.trunc())
    }

    /// The addresses by which `viewer` best reaches `node`: those on shared networks first, then
    /// those behind a router. Addresses without a way are left out.
    pub fn addresses_for(&self, viewer: usize, node: usize) -> Vec<IpAddr> {
        let own: HashSet<usize> =
            self.nodes[viewer].devices.iter().map(|device| device.network).collect();
        let (near, far): (Vec<&DevicePlan>, Vec<&DevicePlan>) =
            self.nodes[node].devices.iter().partition(|device| own.contains(&device.network));
        near.into_iter()
            .chain(far)
            .flat_map(DevicePlan::addresses)
            .filter(|address| self.reaches(viewer, *address))
            .map(|address| address.addr())
            .collect()
    }

    /// The text of `/etc/hosts` on `viewer`: every node by name, and by `NAME.NETWORK` too.
    pub fn hosts_file(&self, spec: &LabSpec, viewer: usize) -> String {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (node, node_spec) in spec.nodes.iter().enumerate() {
            for address in self.addresses_for(viewer, node) {
                let network = self.nodes[node]
                    .devices
                    .iter()
                    .find(|device| device.addresses().any(|own| own.addr() == address))
                    .map_or("", |device| &spec.networks[device.network].name);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{address} {0} {0}.{network}", node_spec.name);
            }
        }
        text
    }
}

fn lowest<N, A>(next: &mut N, taken: &HashSet<IpAddr>, address: impl Fn(N) -> A) -> A
where
    N: Copy + std::ops::AddAssign + From<u8>,
    A: Copy + Into<IpAddr>,
{
    loop {
        let candidate = address(*next);
        *next += N::from(1);
        if !taken.contains(&candidate.into()) {
            return candidate;
        }
    }
}

/// A host whose every way leads over one neighbour gets what people expect: a default route.
fn default_route(node: &NodeSpec, ways: Vec<RoutePlan>, family: Family) -> Vec<RoutePlan> {
    let Some(first) = ways.first() else { return ways };
    if node.forward || ways.iter().any(|way| way.via != first.via) {
        return ways;
    }
    let everywhere = match family {
        Family::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
        Family::V6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
    };
    vec![RoutePlan { to: everywhere, via: first.via, device: first.device }]
}
