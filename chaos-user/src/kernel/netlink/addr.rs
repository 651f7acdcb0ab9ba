//! Addresses of devices.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};

use super::{Link, Netlink, NetlinkError, refused};

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The device's number.
    pub index: u32,
    /// The address with its prefix length.
    pub address: IpNet,
    /// Whether it cannot be used yet because duplicate detection is still going on.
    pub tentative: bool,
}

impl Netlink {
    /// Gives a device an address that can be used at once: no duplicate address detection.
    pub async fn add_address(&self, link: &Link, address: IpNet) -> Result<(), NetlinkError> {
        let mut request =
            self.handle.address().add(link.index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        let added = request.execute().await;
        added.map_err(refused("add an address to", format!("{} ({address})", link.name)))
    }

    /// Takes an address from a device.
    pub async fn delete_address(&self, link: &Link, address: IpNet) -> Result<(), NetlinkError> {
        let object = format!("{address} of {}", link.name);
        let refused = || refused("delete address", object.clone());
        let found: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(link.index)
            .set_prefix_length_filter(address.prefix_len())
            .set_address_filter(address.addr())
            .execute()
            .try_collect()
            .await
            .map_err(refused())?;
        let Some(message) = found.into_iter().next() else {
            let errno = nix::errno::Errno::EADDRNOTAVAIL;
            return Err(NetlinkError::Refused { operation: "delete address", object, errno });
        };
        self.handle.address().del(message).execute().await.map_err(refused())
    }

    /// Every address of the namespace.
    pub async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        let messages: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("list", "addresses"))?;
        Ok(messages.iter().filter_map(read_address).collect())
    }
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    let mut address: Option<IpAddr> = None;
    let mut tentative = message.header.flags.contains(AddressHeaderFlags::Tentative);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point device IFA_ADDRESS is the peer's; IFA_LOCAL is ours.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            AddressAttribute::Flags(flags) => {
                tentative |= flags.contains(AddressFlags::Tentative);
            }
            _ => {}
        }
    }
    let address = IpNet::new(address?, message.header.prefix_len).ok()?;
    Some(Address { index: message.header.index, address, tentative })
}
