//! Faults as they are written, before node names become addresses.

use std::fmt;

use chaos_common::disk::Operation;
use serde::{Deserialize, Serialize};

use super::pressure::PressureSpec;
use super::service::Supervised;
use super::subject::DescriptorsSpec;
use super::units::{Direction, Percent, PortRange, Prefix, Protocol, Span};
use super::workload::WorkloadSpec;
use crate::fault::{Backend, LineOptions};
use crate::kernel::netlink::qdisc::Netem;
use crate::plan::{
    Connections, Corrupt, DiskErrno, Duplicate, FillLevel, Impairment, Loss, Police,
};

/// A fault to inject.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpec {
    /// What happens.
    pub work: FaultWork,
    /// How long it lasts.
    pub duration: Span,
    /// Seeds its decisions; chosen at the start of the run if not given.
    pub seed: Option<u64>,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultWork {
    /// Something with packets.
    Network(NetworkSpec),
    /// Something with all that leaves a device.
    Netem(Box<NetemSpec>),
    /// Something with a process of the lab.
    Process(Target, ProcessAct),
    /// Something with a unit or a container of this host.
    Service(Supervised, ProcessAct),
    /// A filesystem filled.
    DiskFill(DiskFillSpec),
    /// Processes that can open nothing more.
    Descriptors(DescriptorsSpec),
    /// A filesystem that fails.
    DiskError(DiskErrorSpec),
    /// A cgroup that is short of something.
    Pressure(PressureSpec),
    /// Clients that load the system.
    Workload(Box<WorkloadSpec>),
}

/// A filesystem to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFillSpec {
    /// Which.
    pub place: DiskPlace,
    /// How full.
    pub level: FillLevel,
    /// Whether it may be the one that this host or this tool depends on.
    pub force: bool,
}

/// A filesystem that is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskErrorSpec {
    /// Which.
    pub place: DiskPlace,
    /// What operations return.
    pub errno: DiskErrno,
    /// Which operations, in their order.
    pub operations: Vec<Operation>,
    /// Whose; everybody's without one.
    pub scope: Option<CgroupName>,
    /// How many of them.
    pub share: Loss,
    /// Whether it may be the one that this host or this tool depends on.
    pub force: bool,
}

/// A cgroup as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupName {
    /// By path. May hold `${name}`.
    Path(String),
    /// That of a systemd unit. May hold `${name}`.
    Unit(String),
}

impl fmt::Display for CgroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "the cgroup {path}"),
            Self::Unit(unit) => write!(f, "the unit {unit}"),
        }
    }
}

/// Which filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskPlace {
    /// The one with this folder. May hold `${name}`.
    Path(String),
    /// The one with the data of a process of the lab.
    Data(Target),
}

/// netem for whole devices.
#[derive(Debug, Clone, PartialEq)]
pub struct NetemSpec {
    /// The node they belong to; `None` is this host.
    pub node: Option<String>,
    /// Their names, at least one.
    pub devices: Vec<String>,
    /// What happens to the packets.
    pub netem: Netem,
    /// Go on where qdiscs cannot be put back.
    pub force: bool,
    /// How long it takes to grow from a twentieth to the whole.
    pub ramp: Span,
}

/// Rules in the namespaces of some nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// The nodes that hold the rules; empty is this host.
    pub nodes: Vec<String>,
    /// The nodes on the other side; empty is everybody. For a partition, its second side.
    pub remote_nodes: Vec<String>,
    /// What happens to the packets.
    pub behavior: Behavior,
    /// How they are held, if they are; `behavior` says nothing then.
    pub detour: Option<Box<DetourSpec>>,
    /// Seen from `nodes`.
    pub direction: Direction,
    /// Device names on `nodes`; empty is all.
    pub devices: Vec<String>,
    /// The IP protocol.
    pub protocol: Option<Protocol>,
    /// Addresses of this side.
    pub local: Vec<Prefix>,
    /// Ports of this side.
    pub local_ports: Vec<PortRange>,
    /// Addresses of the other side, besides `remote_nodes`.
    pub remote: Vec<Prefix>,
    /// Ports of the other side.
    pub remote_ports: Vec<PortRange>,
    /// How long it takes to grow from a twentieth to the whole.
    pub ramp: Span,
    /// A stable share of all flows.
    pub flows: Option<Percent>,
    /// Age of TCP connections.
    pub connections: Option<Connections>,
}

/// Packets are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetourSpec {
    /// What happens to them meanwhile.
    pub impairment: Impairment,
    /// Who holds them.
    pub backend: Backend,
    /// How the delay line works, if it is the one.
    pub line: LineOptions,
}

/// What happens to the packets that are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// They are lost.
    Drop(Loss),
    /// They are refused, and the sender is told.
    Reject,
    /// They are sent more than once.
    Duplicate(Duplicate),
    /// A bit of them is flipped.
    Corrupt(Corrupt),
    /// Those beyond a rate are lost.
    Police(Police),
}

/// A process of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node it runs on.
    pub node: String,
    /// Its name on that node.
    pub process: String,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessAct {
    /// SIGTERM, and it stays ended until the fault is healed.
    Stop,
    /// SIGKILL, and it stays ended until the fault is healed, unless something restarts it.
    Kill,
    /// SIGSTOP until the fault is healed.
    Pause,
    /// Killed and started again at once.
    Restart,
    /// Started if it does not run, and left running. No fault: what repairs one.
    Start,
}

impl fmt::Display for ProcessAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Start => "start",
        })
    }
}
