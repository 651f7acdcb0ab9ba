//! The lab's plan made real in the kernel: switches, devices, addresses, routes.
//!
//! Every network is a bridge alone in a namespace of its own, every node a namespace, and veth
//! pairs are born with one end in each. Nothing passes through the host's namespace.

use std::fs;
use std::time::Duration;

use super::error::LabError;
use super::plan::{DevicePlan, NodePlan};
use crate::kernel::netlink::{Link, Netlink, NetlinkError};
use crate::kernel::netns::{NetNs, NetNsError};

/// The bridge in a switch.
const BRIDGE: &str = "bridge";
/// Ports are numbered from here, well above the numbers of the nodes' own devices.
const PORT_INDEX: u32 = 1000;
/// How long a device may take to carry traffic.
const RUNNING_WITHIN: Duration = Duration::from_secs(10);

/// A namespace that is proven not to be the host's.
#[derive(Debug, Clone)]
pub(super) struct OwnNetNs {
    netns: NetNs,
    place: String,
}

impl OwnNetNs {
    /// Makes a namespace for `place`, a node or network.
    pub(super) fn create(place: &str) -> Result<Self, LabError> {
        let own = Self { netns: NetNs::anonymous()?, place: place.into() };
        refuse_host(&own.netns)?;
        Ok(own)
    }

    pub(super) fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// Runs netlink work inside, having looked once more where "inside" is.
    fn netlink<T: Send>(
        &self,
        work: impl AsyncFnOnce(&Netlink) -> Result<T, NetlinkError> + Send,
    ) -> Result<T, LabError> {
        self.netns.block_on(|| async {
            refuse_host(&NetNs::current()?)?;
            let failed = |source| LabError::Netlink { place: self.place.clone(), source };
            let netlink = Netlink::open().map_err(failed)?;
            work(&netlink).await.map_err(failed)
        })?
    }

    fn sysctls(&self, settings: &[(&str, &'static str)]) -> Result<(), LabError> {
        self.netns.run(|| {
            refuse_host(&NetNs::current()?)?;
            for (key, value) in settings {
                // The kernel shows each thread the settings of its own namespace here.
                fs::write(format!("/proc/sys/net/{key}"), value).map_err(|source| {
                    LabError::Sysctl {
                        place: self.place.clone(),
                        key: format!("net.{}", key.replace('/', ".")),
                        value,
                        source,
                    }
                })?;
            }
            Ok(())
        })?
    }
}

/// The namespaces that belong to the host: this process's and the first process's.
fn refuse_host(netns: &NetNs) -> Result<(), LabError> {
    let host = match NetNs::from_pid(1) {
        Ok(first) => first == *netns,
        // Not visible, as in some containers; then this process's own is the host's.
        Err(NetNsError::NoProcess { .. } | NetNsError::Open { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if host || NetNs::of_this_process()? == *netns {
        return Err(LabError::HostNamespace { id: netns.id() });
    }
    Ok(())
}

/// Whether the kernel speaks IPv6.
pub(super) fn has_ipv6() -> bool {
    fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
}

/// Makes the switch of a network.
pub(super) fn switch(network: &str) -> Result<OwnNetNs, LabError> {
    let switch = OwnNetNs::create(network)?;
    if has_ipv6() {
        // A switch has no address and says nothing of its own.
        let silent = [("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")];
        switch.sysctls(&silent)?;
    }
    switch.netlink(async |netlink| netlink.add_bridge(BRIDGE).await)?;
    Ok(switch)
}

/// Makes the namespace of a node.
pub(super) fn node(name: &str, forward: bool) -> Result<OwnNetNs, LabError> {
    let node = OwnNetNs::create(name)?;
    let mut settings = vec![
        // Replies may come back another way than requests went.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ];
    if has_ipv6() {
        settings.extend([
            // Without duplicate detection an address can be used at once.
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            // Only the plan says what is an address or a route here.
            ("ipv6/conf/all/accept_ra", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/all/disable_ipv6", "0"),
            ("ipv6/conf/default/disable_ipv6", "0"),
        ]);
        if forward {
            settings.push(("ipv6/conf/all/forwarding", "1"));
        }
    }
    if forward {
        settings.push(("ipv4/ip_forward", "1"));
    }
    node.sysctls(&settings)?;
    node.netlink(async |netlink| netlink.set_up(&netlink.link("lo").await?).await)?;
    Ok(node)
}

/// The name of the port of node `number` on every switch.
pub(super) fn port_name(number: usize) -> String {
    format!("port{number}")
}

/// Joins node `number` to a switch and gives it its addresses. Returns the node's device.
pub(super) fn join(
    node: &OwnNetNs,
    number: usize,
    device: &DevicePlan,
    switch: &OwnNetNs,
) -> Result<Link, LabError> {
    let port = &port_name(number);
    let far = (port.as_str(), PORT_INDEX + number as u32);
    node.netlink(async |netlink| {
        let last = netlink.links().await?.last().map_or(1, |link| link.index);
        netlink.add_veth((&device.name, last + 1), far, switch.netns()).await?;
        let link = netlink.link(&device.name).await?;
        for address in device.addresses() {
            netlink.add_address(&link, address).await?;
        }
        Ok(())
    })?;
    switch.netlink(async |netlink| {
        let port = netlink.link(port).await?;
        netlink.set_master(&port, &netlink.link(BRIDGE).await?).await?;
        netlink.set_up(&port).await
    })?;
    node.netlink(async |netlink| {
        let link = netlink.link(&device.name).await?;
        netlink.set_up(&link).await?;
        Netlink::wait_running(&[&device.name], RUNNING_WITHIN).await?;
        netlink.link(&device.name).await
    })
}

/// Waits until every port of a switch carries traffic. The bridge's own state does not matter: the
/// kernel updates it lazily, up to a second later, and it forwards all the same.
pub(super) fn settle(switch: &OwnNetNs, ports: &[String]) -> Result<(), LabError> {
    let names: Vec<&str> = ports.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    switch.netlink(async |_| Netlink::wait_running(&names, RUNNING_WITHIN).await)
}

/// Adds the routes of a node.
pub(super) fn routes(node: &OwnNetNs, plan: &NodePlan) -> Result<(), LabError> {
    if plan.routes.is_empty() {
        return Ok(());
    }
    node.netlink(async |netlink| {
        for route in &plan.routes {
            let Some(device) = plan.devices.get(route.device) else { continue };
            let link = netlink.link(&device.name).await?;
            netlink.add_route(route.to, route.via, &link).await?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_in_the_namespace_of_the_host() {
        let host = NetNs::of_this_process().unwrap();
        let id = host.id();
        let own = OwnNetNs { netns: host, place: "host".into() };
        let links = own.netlink(async |netlink| netlink.links().await);
        assert!(matches!(links, Err(LabError::HostNamespace { id: refused }) if refused == id));
        let settings = own.sysctls(&[("ipv4/no_such_setting", "1")]);
        assert!(matches!(settings, Err(LabError::HostNamespace { .. })));
    }
}
