//! The devices that rules are about.

use std::collections::BTreeSet;

use crate::experiment::units::nearest;
use crate::fault::detour::is_detour;
use crate::fault::{FaultError, NetworkFault};
use crate::kernel::netlink::Link;
use crate::kernel::netns::NetNs;
use crate::plan::Action;

/// The devices whose traffic the local stack sends and receives: up, and no port of a bridge or
/// bond, whose packets are seen on the device above already.
pub fn default_devices(links: &[Link]) -> Vec<Link> {
    let carries = |link: &&Link| link.up && link.master.is_none() && !is_detour(&link.name);
    links.iter().filter(carries).cloned().collect()
}

/// The indices that each rule names, and all devices to attach to.
pub(super) fn resolve_devices<'a>(
    fault: &NetworkFault,
    links: &'a [Link],
) -> Result<(Vec<Vec<u32>>, Vec<&'a Link>), FaultError> {
    let mut used = BTreeSet::new();
    let mut all = Vec::with_capacity(fault.rules.len());
    for rule in &fault.rules {
        let mut indices = Vec::new();
        for name in &rule.selector.devices {
            let link = find(name, links, &fault.netns)?;
            indices.push(link.index);
            used.insert(link.index);
        }
        if indices.is_empty() && rule.action != Action::Protect {
            used.extend(default_devices(links).iter().map(|link| link.index));
        }
        all.push(indices);
    }
    let used: Vec<_> = links.iter().filter(|link| used.contains(&link.index)).collect();
    if used.is_empty() {
        return Err(FaultError::NoDevices { namespace: fault.netns.to_string() });
    }
    Ok((all, used))
}

/// The device of this name, which has to be up.
pub(in crate::fault) fn find<'a>(
    name: &str,
    links: &'a [Link],
    netns: &NetNs,
) -> Result<&'a Link, FaultError> {
    match links.iter().find(|link| link.name == name) {
        Some(link) if link.up => Ok(link),
        Some(_) => Err(FaultError::DeviceDown { name: name.into() }),
        None => Err(FaultError::NoDevice {
            name: name.into(),
            namespace: netns.to_string(),
            nearest: nearest(name, links.iter().map(|link| link.name.as_str())).map(Into::into),
            known: links.iter().map(|link| link.name.clone()).collect(),
        }),
    }
}
