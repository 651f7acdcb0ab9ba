//! What faults and probes are about: processes, disks, nodes and their addresses.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::LabWorld;
use crate::exit::Exit;
use crate::experiment::{
    CgroupName, DiskErrorSpec, DiskFillSpec, DiskPlace, FaultSpec, NetworkSpec, Subject, Target,
};
use crate::fault::{DiskError, DiskFill};
use crate::host::ProcessId;
use crate::kernel::netns::NetNs;
use crate::lab::Lab;
use crate::probe::{self, ProcessView};
use crate::run::disk_error;
use crate::run::network::{self, NodeRules};
use crate::run::world::Trouble;
use crate::workload::Watched;

impl LabWorld {
    pub(super) fn process(&self, target: &Target) -> Result<ProcessView, String> {
        let lab = self.lab.as_ref().ok_or_else(|| Self::no_lab().text)?;
        let node = lab.node(&target.node).map_err(|error| error.to_string())?;
        let process = node.process(&target.process).map_err(|error| error.to_string())?;
        Ok(ProcessView {
            pid: process.pid(),
            restarts: process.restarts(),
            exit: process.last_exit().map(|exit| exit.to_string()),
            log: process.command().log.clone(),
        })
    }

    pub(super) fn disk(&self, spec: &DiskFillSpec) -> Result<DiskFill, Trouble> {
        let (folder, path) = self.open_disk(&spec.place, "to be filled")?;
        let own = self.folder.clone();
        Ok(DiskFill { folder, path, level: spec.level, force: spec.force, own })
    }

    pub(super) fn disk_error(
        &self,
        name: &str,
        fault: &FaultSpec,
        spec: &DiskErrorSpec,
    ) -> Result<DiskError, Trouble> {
        let (place, path) = self.open_disk(&spec.place, "to fail")?;
        let fill = |text: &String| self.variables.fill_text(text);
        let scope = spec.scope.as_ref().map(|scope| match scope {
            CgroupName::Path(path) => CgroupName::Path(fill(path)),
            CgroupName::Unit(unit) => CgroupName::Unit(fill(unit)),
        });
        Ok(DiskError {
            name: name.to_owned(),
            place,
            path,
            errno: spec.errno,
            operations: spec.operations.clone(),
            cgroup: scope.as_ref().map(disk_error::cgroup).transpose()?,
            share: spec.share,
            lasts: fault.duration,
            seed: fault.seed.unwrap_or(self.seed),
            force: spec.force,
            own: self.folder.clone(),
        })
    }

    /// A folder on a filesystem, and its name.
    pub(super) fn open_disk(
        &self,
        place: &DiskPlace,
        what_for: &str,
    ) -> Result<(OwnedFd, PathBuf), Trouble> {
        Ok(match place {
            DiskPlace::Path(path) => {
                let path = self.base.join(self.variables.fill_text(path));
                let folder = File::open(&path).map_err(|error| Trouble {
                    text: format!("open {}, which is {what_for}: {error}", path.display()),
                    exit: Exit::Usage,
                })?;
                (folder.into(), path)
            }
            DiskPlace::Data(target) => {
                let lab = self.lab.as_ref().ok_or_else(Self::no_lab)?;
                let (node, process) = (target.node.as_str(), target.process.as_str());
                let folder = lab.open_data(node, process);
                let path = lab.data_path(node, process).unwrap_or_default();
                (folder.map_err(|error| Trouble::new(&error, Exit::Usage))?, path)
            }
        })
    }

    /// The main process that a fault is about; none if it does not run.
    pub(super) fn main_process(&self, subject: &Subject) -> Result<Option<u32>, Trouble> {
        let usage = |text| Trouble { text, exit: Exit::Usage };
        Ok(match subject {
            Subject::Process(target) => self.process(target).map_err(usage)?.pid,
            Subject::Service(service) => {
                let seen = service.look().map_err(|error| Trouble::new(&error, error.exit()))?;
                seen.pid
            }
            Subject::PidFile(path) => probe::pid_in(&self.base.join(path)).map_err(usage)?,
        })
    }

    /// What a workload watches; it has to be known, but need not run.
    pub(super) fn watched(&self, subject: &Subject) -> Result<Watched<'_>, Trouble> {
        let subject = subject.filled(&self.variables);
        self.main_process(&subject)?;
        let name = match &subject {
            Subject::Process(target) => target.process.clone(),
            Subject::Service(service) => service.name().to_owned(),
            Subject::PidFile(path) => path.clone(),
        };
        let pid = move || self.main_process(&subject).map_err(|trouble| trouble.text);
        Ok(Watched::new(name, pid))
    }

    /// The processes that a fault is about; none if it does not run.
    pub(super) fn processes(&self, subject: &Subject) -> Result<Vec<ProcessId>, Trouble> {
        let main = self.main_process(subject)?.and_then(ProcessId::of);
        Ok(main.map_or_else(Vec::new, ProcessId::with_descendants))
    }

    pub(super) fn addresses(&self, node: &str) -> Vec<IpAddr> {
        match &self.lab {
            Some(lab) => {
                lab.node(node).map_or_else(|_| Vec::new(), |node| node.addresses().collect())
            }
            None => self.namespaces.addresses(node),
        }
    }

    pub(super) fn rules(&self, name: &str, spec: &NetworkSpec) -> NodeRules {
        network::rules(name, spec, &|node| self.addresses(node))
    }

    pub(super) fn netns(&self, node: Option<&str>) -> Result<NetNs, Trouble> {
        match (node, &self.lab) {
            (Some(node), Some(lab)) => match lab.node(node) {
                Ok(node) => Ok(node.netns().clone()),
                Err(error) => Err(Trouble::new(&error, Exit::Usage)),
            },
            (Some(node), None) => self.namespaces.netns(node).cloned().ok_or_else(Self::no_lab),
            (None, _) => {
                NetNs::of_this_process().map_err(|error| Trouble::new(&error, Exit::HostUnable))
            }
        }
    }

    /// The addresses that a node of the lab knows a host by.
    pub(super) fn resolve(&self, from: Option<&str>, host: &str) -> Vec<IpAddr> {
        let named = |lab: &Lab| from.and_then(|node| lab.resolve(node, host).ok());
        match &self.lab {
            Some(lab) => named(lab).unwrap_or_default(),
            None => self.namespaces.addresses(host),
        }
    }
}
