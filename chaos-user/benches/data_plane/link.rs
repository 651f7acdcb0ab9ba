//! Two namespaces with a veth pair between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use ipnet::IpNet;

pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";
pub(crate) const NEAR_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const FAR_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Gone with the value.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) near: NetNs,
    pub(crate) far: NetNs,
}

impl Link {
    pub(crate) fn up() -> Result<Self> {
        let (near, far) = (NetNs::anonymous()?, NetNs::anonymous()?);
        near.block_on(|| async { Netlink::open()?.add_veth((NEAR, 2), (FAR, 3), &far).await })??;
        for (netns, name, address) in [(&near, NEAR, NEAR_END), (&far, FAR, FAR_END)] {
            netns.block_on(|| async move {
                let netlink = Netlink::open()?;
                let device = netlink.link(name).await?;
                netlink.add_address(&device, IpNet::new(address.into(), 30)?).await?;
                netlink.set_up(&device).await?;
                anyhow::Ok(())
            })??;
        }
        near.block_on(|| Netlink::wait_running(&[NEAR], Duration::from_secs(20)))??;
        Ok(Self { near, far })
    }
}
