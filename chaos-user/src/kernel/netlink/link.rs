//! Devices: veth pairs, bridges, up and down, and from one namespace to another.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    State,
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, MulticastGroup};

use super::{Netlink, NetlinkError, link_change, refused};
use crate::kernel::netns::NetNs;

/// A network device as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number, unique in its namespace.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// `veth`, `bridge`, …; `None` for a device without a software kind, such as `lo`.
    pub kind: Option<String>,
    /// Its hardware address; empty if it has none.
    pub mac: Vec<u8>,
    /// Whether it was set up by the administrator.
    pub up: bool,
    /// Whether it says that it carries traffic (operational state up).
    pub running: bool,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// The device that it is a VLAN (macvlan, ipvlan) of.
    pub below: Option<u32>,
    /// Whether its packets begin with an Ethernet header (loopback's do).
    pub ethernet: bool,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: None,
            mac: Vec::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            running: false,
            master: None,
            below: None,
            ethernet: matches!(
                message.header.link_layer_type,
                LinkLayerType::Ether | LinkLayerType::Loopback
            ),
        };
        let mut related = None;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::Link(index) => related = Some(index),
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::OperState(state) => link.running = state == State::Up,
                LinkAttribute::Controller(master) => link.master = Some(master),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        // For a veth this is its peer, whose number may be one of another namespace.
        let stacked = ["vlan", "macvlan", "macvtap", "ipvlan"];
        link.below = related.filter(|_| link.kind.as_deref().is_some_and(|k| stacked.contains(&k)));
        link
    }
}

impl Netlink {
    /// Every device of the namespace, by index.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut links: Vec<Link> = self
            .handle
            .link()
            .get()
            .execute()
            .map_ok(Link::from)
            .try_collect()
            .await
            .map_err(refused("list", "devices"))?;
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// The device of this name.
    pub async fn link(&self, name: &str) -> Result<Link, NetlinkError> {
        let mut links = self.links().await?;
        let found = links.iter().position(|link| link.name == name);
        found.map(|at| links.swap_remove(at)).ok_or_else(|| NetlinkError::NoDevice {
            name: name.into(),
            known: links.into_iter().map(|link| link.name).collect(),
        })
    }

    /// Makes a bridge that forwards at once: no spanning tree, no multicast snooping. It is up.
    pub async fn add_bridge(&self, name: &str) -> Result<(), NetlinkError> {
        let bridge = LinkBridge::new(name).forward_delay(0).mcast_snooping(false).build();
        let added = self.handle.link().add(bridge).execute().await;
        added.map_err(refused("create bridge", name))
    }

    /// Makes a veth pair of two (name, number) ends; the peer is born in `peer_ns`. Both ends are
    /// down.
    ///
    /// Give the ends different numbers: a device whose number equals its peer's is taken by the
    /// kernel for one without a peer, and its coming up is noticed up to a second late. The kernel
    /// heeds the peer's number only when the near end has one, too.
    pub async fn add_veth(
        &self,
        (name, index): (&str, u32),
        (peer, peer_index): (&str, u32),
        peer_ns: &NetNs,
    ) -> Result<(), NetlinkError> {
        let far = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .index(peer_index)
            .setns_by_fd(peer_ns.as_fd().as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .index(index)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .build();
        let added = self.handle.link().add(pair).execute().await;
        added.map_err(refused("create veth pair", format!("{name} with {peer} in {peer_ns}")))
    }

    /// Sets a device up.
    pub async fn set_up(&self, link: &Link) -> Result<(), NetlinkError> {
        self.set(LinkUnspec::new_with_index(link.index).up(), "set up", &link.name).await
    }

    /// Sets the largest packet of a device, in bytes.
    pub async fn set_mtu(&self, link: &Link, mtu: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(link.index).mtu(mtu);
        self.set(change, "set the MTU of", &link.name).await
    }

    /// Sets a device down.
    pub async fn set_down(&self, link: &Link) -> Result<(), NetlinkError> {
        self.set(LinkUnspec::new_with_index(link.index).down(), "set down", &link.name).await
    }

    /// Makes a device a port of a bridge.
    pub async fn set_master(&self, link: &Link, bridge: &Link) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(link.index).controller(bridge.index);
        self.set(change, "make a port of the bridge", &link.name).await
    }

    /// Moves a device to another namespace; it arrives there down and without addresses.
    pub async fn move_link(&self, link: &Link, to: &NetNs) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(link.index).setns_by_fd(to.as_fd().as_raw_fd());
        self.set(change, "move to another namespace", &link.name).await
    }

    /// Deletes a device, and its peer with it if it is one end of a veth pair.
    pub async fn delete_link(&self, link: &Link) -> Result<(), NetlinkError> {
        let deleted = self.handle.link().del(link.index).execute().await;
        deleted.map_err(refused("delete device", &link.name))
    }

    async fn set(
        &self,
        change: LinkMessageBuilder<LinkUnspec>,
        operation: &'static str,
        name: &str,
    ) -> Result<(), NetlinkError> {
        let set = self.handle.link().set(change.build()).execute().await;
        set.map_err(refused(operation, name))
    }

    /// Waits until every named device says that it carries traffic, told by the kernel's own
    /// notices. Opens a socket of its own: call it from the namespace that the devices are in.
    pub async fn wait_running(names: &[&str], within: Duration) -> Result<(), NetlinkError> {
        let (connection, handle, mut notices) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
                .map_err(NetlinkError::Connect)?;
        let netlink = Self { handle, pump: tokio::spawn(connection) };
        let mut missing: Vec<String> = names.iter().map(ToString::to_string).collect();
        let all = async {
            loop {
                // The group was joined before this look, so no change can slip between.
                let links = netlink.links().await?;
                missing.retain(|name| !links.iter().any(|link| link.name == *name && link.running));
                if missing.is_empty() {
                    return Ok(());
                }
                loop {
                    match notices.next().await {
                        Some((message, _)) => match &message.payload {
                            NetlinkPayload::InnerMessage(inner) if link_change(inner) => break,
                            _ => {}
                        },
                        None => {
                            return Err(NetlinkError::Connect(
                                std::io::ErrorKind::BrokenPipe.into(),
                            ));
                        }
                    }
                }
            }
        };
        match tokio::time::timeout(within, all).await {
            Ok(result) => result,
            Err(_) => Err(NetlinkError::NotRunning { devices: missing, within }),
        }
    }
}
