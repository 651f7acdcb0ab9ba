//! Routes.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;

use super::{Link, Netlink, NetlinkError, refused};

impl Netlink {
    /// Sends what is for `to` through the neighbour `via` on `link`; `to` with a prefix length
    /// of 0 is the default route. Both must be of one address family.
    pub async fn add_route(&self, to: IpNet, via: IpAddr, link: &Link) -> Result<(), NetlinkError> {
        let added = match route(to, via, link.index) {
            Some(message) => self.handle.route().add(message).execute().await,
            None => Err(rtnetlink::Error::InvalidNla("mixed address families".into())),
        };
        added.map_err(refused("add a route", format!("to {to} via {via} on {}", link.name)))
    }

    /// Takes a route away that [`Self::add_route`] added.
    pub async fn delete_route(
        &self,
        to: IpNet,
        via: IpAddr,
        link: &Link,
    ) -> Result<(), NetlinkError> {
        let deleted = match route(to, via, link.index) {
            Some(message) => self.handle.route().del(message).execute().await,
            None => Err(rtnetlink::Error::InvalidNla("mixed address families".into())),
        };
        deleted.map_err(refused("delete the route", format!("to {to} via {via} on {}", link.name)))
    }

    /// The index of the device that packets for `to` leave through; `None` without a route.
    pub async fn device_towards(&self, to: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let length = if to.is_ipv4() { 32 } else { 128 };
        let builder = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to, length);
        let Ok(builder) = builder else { return Ok(None) };
        let found: Result<Vec<RouteMessage>, _> =
            self.handle.route().get(builder.build()).execute().try_collect().await;
        match found {
            Ok(routes) => {
                Ok(routes.iter().flat_map(|route| &route.attributes).find_map(|attribute| {
                    match attribute {
                        RouteAttribute::Oif(index) => Some(*index),
                        _ => None,
                    }
                }))
            }
            Err(error) => match refused("look up the route", format!("to {to}"))(error) {
                NetlinkError::Refused { errno, .. }
                    if [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ESRCH].contains(&errno) =>
                {
                    Ok(None)
                }
                other => Err(other),
            },
        }
    }
}

fn route(to: IpNet, via: IpAddr, index: u32) -> Option<RouteMessage> {
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .ok()?
        .gateway(via)
        .ok()
        .map(|builder| builder.output_interface(index).build())
}
