//! What a journal records.

use serde::{Deserialize, Serialize};

use super::super::undo::{
    CgroupUndo, DescriptorsUndo, FillUndo, FilterUndo, LabUndo, LinkUndo, PausedUndo,
    RootNetemRecord, ServiceUndo, SysctlUndo, Undo,
};
use crate::host::ProcessId;
use crate::kernel::bpf::HookPoint;
use crate::kernel::netns::NetNs;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// Who runs.
    Begin {
        /// Process.
        pid: u32,
        /// CLOCK_BOOTTIME, ns.
        started: u64,
        /// Its command line.
        command: Vec<String>,
        /// The same process without doubt; version 1 did not have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        controller: Option<ProcessId>,
        /// Which boot of the machine; version 1 was in a folder that a reboot empties.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
    },
    /// Who watches over it.
    Guardian {
        /// The process.
        process: ProcessId,
    },
    /// A clsact filter may be added to a device.
    Filter(FilterUndo),
    /// A device's root qdisc may be replaced by netem.
    RootNetem(RootNetemRecord),
    /// A device may be made for a detour.
    DetourLink(LinkUndo),
    /// A setting of a network namespace may be changed.
    Sysctl(SysctlUndo),
    /// A process of this host may be stopped (SIGSTOP).
    Paused(PausedUndo),
    /// A lab of this run may have processes.
    Lab(LabUndo),
    /// A unit or a container that ran may not run.
    Service(ServiceUndo),
    /// A process may not be able to open files.
    Descriptors(DescriptorsUndo),
    /// A cgroup may get less than it wants.
    Cgroup(CgroupUndo),
    /// A file may take up the room of a filesystem.
    DiskFill(FillUndo),
    /// The faults are in force.
    Active {
        /// Which.
        faults: Vec<ActiveFault>,
        /// CLOCK_BOOTTIME, ns, when the kernel ends the last of them.
        deadline: u64,
    },
    /// A fault is in force that ends with its run, so that there is nothing to undo.
    Passing {
        /// Its name.
        name: String,
        /// What it does, in words.
        text: String,
        /// CLOCK_BOOTTIME, ns, when the kernel ends it.
        deadline: u64,
    },
    /// What an earlier record is about is undone, or over.
    Done {
        /// Its number.
        entry: u64,
    },
}

impl Record {
    /// What undoes it; `None` for records that only tell something.
    pub fn undo(&self) -> Option<&dyn Undo> {
        match self {
            Self::Filter(undo) => Some(undo),
            Self::RootNetem(undo) => Some(undo),
            Self::DetourLink(undo) => Some(undo),
            Self::Sysctl(undo) => Some(undo),
            Self::Paused(undo) => Some(undo),
            Self::DiskFill(undo) => Some(undo),
            Self::Descriptors(undo) => Some(undo),
            Self::Cgroup(undo) => Some(undo),
            Self::Service(undo) => Some(undo),
            Self::Lab(undo) => Some(undo),
            Self::Begin { .. }
            | Self::Guardian { .. }
            | Self::Active { .. }
            | Self::Passing { .. }
            | Self::Done { .. } => None,
        }
    }
}

/// A network namespace that a later process must find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsRef {
    /// In nsfs. The kernel uses it again after the namespace is gone.
    pub inode: u64,
    /// The kernel's number for it, which is not used again until the next boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
}

impl NetnsRef {
    /// The namespace itself; `None` if it is gone, with all its devices.
    pub fn find(&self) -> Option<NetNs> {
        let found = NetNs::find(self.inode)?;
        match self.cookie {
            Some(cookie) if found.cookie().is_ok_and(|now| now != cookie) => None,
            _ => Some(found),
        }
    }
}

impl From<&NetNs> for NetnsRef {
    fn from(netns: &NetNs) -> Self {
        Self { inode: netns.inode(), cookie: netns.cookie().ok() }
    }
}

/// A fault in force, for `chaos status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Its name.
    pub name: String,
    /// Where.
    pub netns: NetnsRef,
    /// Its rules.
    pub rules: Vec<ActiveRule>,
    /// Where its programs are.
    pub attached: Vec<HookPoint>,
    /// Ids of the maps that count by rule and by hook.
    pub counter_maps: [u32; 2],
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRule {
    /// Its name.
    pub name: String,
    /// What it does, in words.
    pub text: String,
    /// Where it counts.
    pub slot: u32,
    /// Where it looks.
    pub hooks: Vec<u32>,
}
