//! What a fault would attach.

use std::collections::BTreeSet;

use chaos_common::Hook;

use super::devices::resolve_devices;
use super::{check_cgroups, request};
use crate::fault::detour::Backend;
use crate::fault::{FaultError, NetworkFault};
use crate::kernel::netlink::Netlink;
use crate::plan::{Compiled, compile};

/// What [`Session::start`](crate::fault::Session::start) would attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Device names.
    pub devices: Vec<String>,
    /// Hooks, in words.
    pub programs: Vec<String>,
    /// Who would hold packets.
    pub holder: Option<Backend>,
}

/// Checks a fault as starting it would, and says what would be attached; touches nothing.
pub fn preview(fault: &NetworkFault) -> Result<Preview, FaultError> {
    let links = fault.netns.block_on(|| async { Netlink::open()?.links().await })??;
    let (devices, used) = resolve_devices(fault, &links)?;
    let Compiled { hooks, .. } = compile(&request(fault, &devices, false, 0, 0))?;
    check_cgroups(fault)?;
    let wanted: BTreeSet<Hook> = hooks.into_iter().flatten().collect();
    let programs = wanted.into_iter().map(|hook| {
        match hook {
            Hook::Egress => "tc egress",
            Hook::Ingress => "tc ingress",
            Hook::CgroupIngress => "cgroup_skb ingress",
            Hook::Connect => "cgroup connect and sendmsg",
        }
        .into()
    });
    Ok(Preview {
        devices: used.iter().map(|link| link.name.clone()).collect(),
        programs: programs.collect(),
        holder: fault.detours.check()?,
    })
}
