//! Options that choose packets, shared by all network faults.

use anyhow::Context as _;

use super::UsageError;
use crate::experiment::units::{Direction, Percent, PortRange, Prefix, Protocol};
use crate::host::Cgroups;
use crate::kernel::netns::NetNs;
use crate::plan::{CgroupRef, Connections, Protect, Rule, Selector};

/// Which packets. All options must hold together; an option given several times holds if any of
/// its values does.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which packets (all must hold)")]
pub(super) struct SelectorArgs {
    /// Device that the packets pass; repeatable. Default: every device that is up and is no port
    /// of a bridge or bond, loopback included
    #[arg(long, value_name = "NAME")]
    dev: Vec<String>,
    /// Network namespace: its name, the id of a process in it, or a path. Default: this one
    #[arg(long, value_name = "NAME|PID|PATH")]
    netns: Option<String>,
    /// `to` the remote side, `from` it, or both
    #[arg(long, value_name = "to|from|both")]
    direction: Option<Direction>,
    /// tcp, udp, icmp, icmpv6, sctp, or a number
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<Protocol>,
    /// Address or prefix of this side; repeatable
    #[arg(long, value_name = "PREFIX")]
    local: Vec<Prefix>,
    /// Port or range of this side; repeatable
    #[arg(long, value_name = "PORT[-PORT]", allow_hyphen_values = true)]
    local_port: Vec<PortRange>,
    /// Address or prefix of the other side; repeatable
    #[arg(long, value_name = "PREFIX")]
    remote: Vec<Prefix>,
    /// Port or range of the other side; repeatable
    #[arg(long, value_name = "PORT[-PORT]", allow_hyphen_values = true)]
    remote_port: Vec<PortRange>,
    /// Sockets of this cgroup (v2) and its descendants
    #[arg(long, value_name = "PATH", group = "who")]
    cgroup: Option<String>,
    /// Sockets of this systemd unit
    #[arg(long, value_name = "NAME", group = "who")]
    unit: Option<String>,
    /// Sockets of this process, if it has a cgroup of its own
    #[arg(long, value_name = "PID", group = "who")]
    pid: Option<u32>,
    /// A stable share of all flows
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    flows: Option<Percent>,
    /// TCP connections that begin after the fault does, or that were there before
    #[arg(long, value_name = "new|established")]
    connections: Option<ConnectionsArg>,
    /// Flows that the fault never touches: `dns`, `metadata` (of clouds), or
    /// `remote=PREFIX,remote-port=PORT,local=…,local-port=…,proto=…`; repeatable. The SSH session
    /// that this runs in is always protected
    #[arg(long, value_name = "FLOWS")]
    protect: Vec<Protect>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ConnectionsArg {
    New,
    Established,
}

impl SelectorArgs {
    /// The namespace that the rules go into.
    pub(super) fn namespace(&self) -> anyhow::Result<NetNs> {
        match &self.netns {
            Some(text) => NetNs::parse(text)
                .map_err(|error| UsageError(format!("--netns {text}: {error}")).into()),
            None => NetNs::current().context("open this network namespace"),
        }
    }

    /// The selector, with names of cgroups resolved.
    pub(super) fn selector(&self, default_direction: Direction) -> anyhow::Result<Selector> {
        let Self {
            dev,
            netns: _,
            direction,
            proto,
            local,
            local_port,
            remote,
            remote_port,
            cgroup: _,
            unit: _,
            pid: _,
            flows,
            connections,
            protect: _,
        } = self;
        Ok(Selector {
            direction: direction.unwrap_or(default_direction),
            devices: dev.clone(),
            protocol: *proto,
            local: local.clone(),
            local_ports: local_port.clone(),
            remote: remote.clone(),
            remote_ports: remote_port.clone(),
            cgroup: self.cgroup().map_err(crate::fault::FaultError::from)?,
            flows: *flows,
            connections: connections.map(|connections| match connections {
                ConnectionsArg::New => Connections::New,
                ConnectionsArg::Established => Connections::Established,
            }),
        })
    }

    fn cgroup(&self) -> Result<Option<CgroupRef>, crate::host::CgroupError> {
        match (&self.cgroup, &self.unit, self.pid) {
            (Some(path), _, _) => Cgroups::find()?.by_path(path).map(Some),
            (_, Some(unit), _) => Cgroups::find()?.by_unit(unit).map(Some),
            (_, _, Some(pid)) => Cgroups::find()?.by_process(pid).map(Some),
            (None, None, None) => Ok(None),
        }
    }

    /// Rules for what must not be touched.
    pub(super) fn protected(&self) -> impl Iterator<Item = &Rule> {
        self.protect.iter().flat_map(Protect::rules)
    }

    /// Whether the other side is named at all.
    pub(super) fn names_remote(&self) -> bool {
        !self.remote.is_empty()
    }
}
