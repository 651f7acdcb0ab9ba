//! Routes.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::route::RouteMessage;
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
}

fn route(to: IpNet, via: IpAddr, index: u32) -> Option<RouteMessage> {
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .ok()?
        .gateway(via)
        .ok()
        .map(|builder| builder.output_interface(index).build())
}
