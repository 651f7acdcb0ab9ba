//! What the supervisor of a lab writes down for other processes to find.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::node::LabNode;
use super::running::Lab;

/// The version of the record's form.
const FORMAT: u32 = 1;

/// A lab as its supervisor describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRecord {
    /// The version of this form: 1.
    pub format: u32,
    /// The lab's name.
    pub name: String,
    /// Why it did not come up entirely, if it was kept all the same.
    pub failure: Option<String>,
    /// The process that holds it.
    pub supervisor: u32,
    /// The first process of its PID namespace.
    pub init: Option<u32>,
    /// The folder with `log` and `data`.
    pub folder: Option<PathBuf>,
    /// Its nodes, in the order of the file.
    pub nodes: Vec<NodeRecord>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// A path that leads to its network namespace while the supervisor lives.
    pub netns: PathBuf,
    /// The number of that namespace.
    pub inode: u64,
    /// Its devices.
    pub devices: Vec<DeviceRecord>,
    /// A path that leads to the mount namespace that they begin in, if it is not the host's.
    #[serde(default)]
    pub mounts: Option<PathBuf>,
    /// Files that its processes see in the place of the host's.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Its processes.
    pub processes: Vec<ProcessRecord>,
}

/// A device of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its name on the node.
    pub name: String,
    /// Its network.
    pub network: String,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<String>,
}

/// A process of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its name.
    pub name: String,
    /// Its id on the host, while it runs.
    pub pid: Option<u32>,
    /// How it ended last, if it ever did.
    pub exit: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Where its output goes.
    pub log: PathBuf,
}

impl LabRecord {
    /// Describes a lab that this process holds.
    pub fn of(lab: &Lab, failure: Option<String>) -> Self {
        Self {
            format: FORMAT,
            name: lab.name().into(),
            failure,
            supervisor: std::process::id(),
            init: lab.spawner().ok().and_then(|spawner| spawner.init_pid()),
            folder: lab.state_dir().map(Into::into),
            nodes: lab.nodes().iter().map(NodeRecord::of).collect(),
        }
    }
}

impl NodeRecord {
    fn of(node: &LabNode) -> Self {
        let devices = node.devices().iter().map(|device| DeviceRecord {
            name: device.name.clone(),
            network: device.network.clone(),
            addresses: [device.v4.map(|net| net.to_string()), device.v6.map(|net| net.to_string())]
                .into_iter()
                .flatten()
                .collect(),
        });
        let processes = node.processes().iter().map(|process| ProcessRecord {
            name: process.name().into(),
            pid: process.pid(),
            exit: process.last_exit().map(|exit| exit.to_string()),
            restarts: process.restarts(),
            log: process.command().log.clone(),
        });
        Self {
            name: node.name().into(),
            netns: node.netns().path(),
            inode: node.netns().inode(),
            devices: devices.collect(),
            mounts: node.surroundings().mounts_path(),
            files: node.surroundings().files.clone(),
            processes: processes.collect(),
        }
    }
}
