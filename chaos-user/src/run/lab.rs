//! The real world: a lab, if the experiment has one, else this host.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::containers::ContainerLogs;
use super::event::RuleText;
use super::logs::LogFile;
use super::namespaces::Namespaces;
use super::network::{self, NodeRules};
use super::world::{ActiveFault, Outcome, Proof, Trouble, World};
use super::{descriptors, disk_error, disk_fill};
use super::{netem, pressure, process, service, workload};
use crate::exit::Exit;
use crate::experiment::{
    Activity, CgroupName, DiskErrorSpec, DiskFillSpec, DiskPlace, Experiment, FaultSpec, FaultWork,
    LogCall, LogSource, Observation, PressureSpec, Provider, Span, Subject, Target, Variables,
};
use crate::fault::{DiskError, DiskFill, Entry, Journal, LabUndo, Record};
use crate::host::ProcessId;
use crate::kernel::netns::{NetNs, NetNsRuntime};
use crate::lab::{Lab, LabNode};
use crate::plan::Rule;
use crate::probe::{self, Memory, ProcessView};
use crate::target::{self, Spawner};
use crate::workload::{Operation, Surroundings, Watched};

/// The surroundings of a run: a lab, or this host.
#[derive(Debug)]
pub struct LabWorld {
    lab: Option<Lab>,
    namespaces: Namespaces,
    runtimes: BTreeMap<Option<String>, NetNsRuntime>,
    spawner: Spawner,
    variables: Variables,
    base: PathBuf,
    seed: u64,
    logs: Vec<LogFile>,
    containers: ContainerLogs,
    memory: Memory,
    protect: Vec<Rule>,
    folder: Option<PathBuf>,
    /// What ends the lab's processes if this process cannot.
    record: Option<Entry>,
    /// Closed last.
    journal: Option<Journal>,
}

impl LabWorld {
    /// Probes run from the lab's nodes or from this host; programs are relative to `base`.
    pub fn new(
        lab: Option<Lab>,
        variables: Variables,
        base: PathBuf,
        journal: Option<Journal>,
        seed: u64,
    ) -> Result<Self, Trouble> {
        let unable = |error: &dyn std::error::Error| Trouble::new(error, Exit::HostUnable);
        let here = NetNs::of_this_process().map_err(|error| unable(&error))?;
        let here = here.spawn_runtime().map_err(|error| unable(&error))?;
        let mut runtimes = BTreeMap::from([(None, here)]);
        for node in lab.iter().flat_map(Lab::nodes) {
            let runtime = node.netns().spawn_runtime().map_err(|error| unable(&error))?;
            runtimes.insert(Some(node.name().to_owned()), runtime);
        }
        let spawner = Spawner::on_host().map_err(|error| unable(&error))?;
        let memory = Memory::default();
        for process in lab.iter().flat_map(Lab::nodes).flat_map(LabNode::processes) {
            // It began with the lab.
            memory.watch_whole(&process.command().log);
        }
        let first = lab.as_ref().and_then(|lab| lab.spawner().ok()?.init_pid());
        let record = match (&journal, first.and_then(ProcessId::of)) {
            (Some(journal), Some(first)) => {
                let record = journal.append(Record::Lab(LabUndo { first }));
                Some(record.map_err(|error| Trouble::tool(&error))?)
            }
            _ => None,
        };
        let protect = Vec::new();
        Ok(Self {
            lab,
            namespaces: Namespaces::default(),
            runtimes,
            spawner,
            variables,
            base,
            seed,
            memory,
            logs: Vec::new(),
            containers: ContainerLogs::default(),
            protect,
            folder: None,
            record,
            journal,
        })
    }

    /// These are nodes.
    pub fn in_namespaces(mut self, namespaces: Namespaces) -> Result<Self, Trouble> {
        for node in namespaces.names() {
            if let Some(netns) = namespaces.netns(node) {
                let runtime = netns.spawn_runtime();
                let runtime = runtime.map_err(|error| Trouble::new(&error, Exit::HostUnable))?;
                self.runtimes.insert(Some(node.to_owned()), runtime);
            }
        }
        self.namespaces = namespaces;
        Ok(self)
    }

    /// Logs that the experiment's probes look at count from now on; results go to `folder`.
    pub fn watching(mut self, experiment: &Experiment, folder: &Path) -> Result<Self, Trouble> {
        self.folder = Some(folder.to_owned());
        for activity in experiment.activities() {
            if let Provider::Log(LogCall { source: LogSource::Path(path), .. }) = &activity.provider
            {
                self.memory.watch(&self.base.join(self.variables.fill_text(path)));
            }
        }
        self.containers = ContainerLogs::of(experiment, &self.variables)?;
        for log in self.containers.paths() {
            self.memory.watch_whole(log);
        }
        Ok(self)
    }

    /// What is written from now on belongs to the next phase.
    fn begin_phase(&self) {
        self.containers.begin_phase();
        self.memory.begin_phase();
    }

    fn process(&self, target: &Target) -> Result<ProcessView, String> {
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

    /// Follows these logs besides those of the lab's processes; they are relative to the experiment's
    /// file and may hold `${name}`.
    #[must_use]
    pub fn with_logs(mut self, logs: &[String]) -> Self {
        self.logs.extend(logs.iter().map(|log| {
            let source = self.variables.fill_text(log);
            LogFile { path: self.base.join(&source), source }
        }));
        self
    }

    /// Flows that no fault touches, on this host and in the lab.
    #[must_use]
    pub fn protecting(mut self, protect: Vec<Rule>) -> Self {
        self.protect = protect;
        self
    }

    fn disk(&self, spec: &DiskFillSpec) -> Result<DiskFill, Trouble> {
        let (folder, path) = self.open_disk(&spec.place, "to be filled")?;
        let own = self.folder.clone();
        Ok(DiskFill { folder, path, level: spec.level, force: spec.force, own })
    }

    fn disk_error(
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
    fn open_disk(&self, place: &DiskPlace, what_for: &str) -> Result<(OwnedFd, PathBuf), Trouble> {
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
    fn main_process(&self, subject: &Subject) -> Result<Option<u32>, Trouble> {
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
    fn watched(&self, subject: &Subject) -> Result<Watched<'_>, Trouble> {
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
    fn processes(&self, subject: &Subject) -> Result<Vec<ProcessId>, Trouble> {
        let main = self.main_process(subject)?.and_then(ProcessId::of);
        Ok(main.map_or_else(Vec::new, ProcessId::with_descendants))
    }

    fn addresses(&self, node: &str) -> Vec<IpAddr> {
        match &self.lab {
            Some(lab) => {
                lab.node(node).map_or_else(|_| Vec::new(), |node| node.addresses().collect())
            }
            None => self.namespaces.addresses(node),
        }
    }

    fn rules(&self, name: &str, spec: &crate::experiment::NetworkSpec) -> NodeRules {
        network::rules(name, spec, &|node| self.addresses(node))
    }

    fn netns(&self, node: Option<&str>) -> Result<NetNs, Trouble> {
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

    fn journal(&self) -> Result<&Journal, Trouble> {
        self.journal.as_ref().ok_or_else(|| Trouble {
            text: "a fault needs a journal, and this run has none".into(),
            exit: Exit::ToolFailed,
        })
    }

    /// The addresses that a node of the lab knows a host by.
    fn resolve(&self, from: Option<&str>, host: &str) -> Vec<IpAddr> {
        let named = |lab: &Lab| from.and_then(|node| lab.resolve(node, host).ok());
        match &self.lab {
            Some(lab) => named(lab).unwrap_or_default(),
            None => self.namespaces.addresses(host),
        }
    }

    fn no_lab() -> Trouble {
        Trouble { text: "the fault is about a lab, but there is none".into(), exit: Exit::Usage }
    }
}

impl Drop for LabWorld {
    fn drop(&mut self) {
        drop(self.lab.take());
        // What is still there stays in the journal.
        let _ = self.record.take().map(Entry::undo);
    }
}

impl World for LabWorld {
    fn perform(&self, activity: &Activity) -> Observation {
        let from = activity.from.as_deref();
        let resolve = |host: &str| self.resolve(from, host);
        let surroundings = match (from, &self.lab) {
            (Some(node), Some(lab)) => lab.node(node).ok().map(|node| node.surroundings().clone()),
            (Some(node), None) => {
                self.namespaces.netns(node).cloned().map(target::Surroundings::of)
            }
            _ => None,
        };
        let spawner = match (&surroundings, &self.lab) {
            (Some(_), Some(lab)) => lab.spawner().ok().map(AsRef::as_ref),
            _ => Some(&self.spawner),
        };
        let runtime = self.runtimes.get(&activity.from).filter(|_| spawner.is_some());
        match (runtime, spawner) {
            (Some(runtime), Some(spawner)) => probe::perform(
                activity,
                &probe::Place {
                    runtime,
                    resolve: &resolve,
                    surroundings: surroundings.as_ref(),
                    spawner,
                    variables: &self.variables,
                    base: &self.base,
                    process: &|target| self.process(target),
                    container_log: &|name, socket| self.containers.log(name, socket),
                    memory: &self.memory,
                },
            ),
            _ => Observation {
                output: serde_json::Value::Null,
                error: Some("its node is gone".into()),
                took: 0,
            },
        }
    }

    fn explain(&self, name: &str, fault: &FaultSpec) -> Result<Vec<RuleText>, Trouble> {
        match &fault.work {
            FaultWork::Network(spec) => Ok(network::explain(&self.rules(name, spec), spec.ramp)),
            FaultWork::Netem(spec) => Ok(netem::explain(name, spec)),
            FaultWork::Process(target, act) => Ok(vec![process::explain(name, target, *act)]),
            FaultWork::DiskFill(spec) => Ok(disk_fill::explain(name, spec)),
            FaultWork::Descriptors(spec) => Ok(vec![descriptors::explain(name, spec)]),
            FaultWork::DiskError(spec) => Ok(disk_error::explain(name, spec)),
            FaultWork::Pressure(spec) => Ok(vec![pressure::explain(name, spec)]),
            FaultWork::Workload(spec) => Ok(vec![workload::explain(name, spec)]),
            FaultWork::Service(which, act) => {
                Ok(vec![service::explain(name, &which.filled(&self.variables), *act)])
            }
        }
    }

    fn inject<'a>(
        &'a self,
        name: &str,
        fault: &FaultSpec,
    ) -> Result<Box<dyn ActiveFault + 'a>, Trouble> {
        self.begin_phase();
        let active = match &fault.work {
            FaultWork::Network(spec) => network::inject(
                self.journal()?,
                name,
                (self.rules(name, spec), spec.detour.as_deref(), spec.ramp),
                fault.duration.max(Span::from_ms(1)),
                fault.seed.unwrap_or(self.seed),
                &self.protect,
                &|node| self.netns(node),
            ),
            FaultWork::Netem(spec) => netem::inject(
                self.journal()?,
                name,
                spec,
                fault.duration,
                &self.netns(spec.node.as_deref())?,
            ),
            FaultWork::Process(target, act) => {
                let lab = self.lab.as_ref().ok_or_else(Self::no_lab)?;
                process::inject(lab, self.journal()?, name, target, *act)
            }
            FaultWork::Service(which, act) => {
                let which = which.filled(&self.variables);
                service::inject(self.journal()?, name, &which, *act)
            }
            FaultWork::DiskFill(spec) => {
                let fill = self.disk(spec)?;
                disk_fill::inject(self.journal()?, name, spec, fill)
            }
            FaultWork::Descriptors(spec) => {
                let processes = self.processes(&spec.subject.filled(&self.variables))?;
                descriptors::inject(self.journal()?, name, spec, &processes)
            }
            FaultWork::Pressure(spec) => {
                let confined = spec.confined.filled(&self.variables);
                let cgroup = pressure::cgroup(&confined, |subject| self.main_process(subject))?;
                let fill = |path: &String| self.base.join(self.variables.fill_text(path));
                let path = spec.path.as_ref().map(fill);
                let spec = PressureSpec { confined, ..spec.clone() };
                pressure::inject(self.journal()?, name, &spec, cgroup, path.as_deref())
            }
            FaultWork::DiskError(spec) => {
                let disk = self.disk_error(name, fault, spec)?;
                disk_error::inject(self.journal()?, name, spec, disk)
            }
            FaultWork::Workload(spec) => {
                let watched = spec.watch.as_ref();
                let watched = watched.map(|watch| self.watched(watch)).transpose()?;
                let surroundings = Surroundings {
                    netns: &self.netns(spec.from.as_deref())?,
                    resolve: &|host| self.resolve(spec.from.as_deref(), host),
                    variables: &self.variables,
                    seed: fault.seed.unwrap_or(self.seed),
                };
                workload::inject(name, spec, watched, &surroundings)
            }
        }?;
        Ok(Box::new(Noted { active, world: self }))
    }

    fn logs(&self) -> Vec<LogFile> {
        let nodes = self.lab.iter().flat_map(Lab::nodes);
        let of_lab = nodes.flat_map(|node| {
            node.processes().iter().map(|process| LogFile {
                source: format!("{}/{}", node.name(), process.name()),
                path: process.command().log.clone(),
            })
        });
        of_lab.chain(self.logs.iter().cloned()).chain(self.containers.quoted()).collect()
    }

    fn nodes(&self) -> Vec<(String, Vec<String>)> {
        let nodes = self.lab.iter().flat_map(Lab::nodes);
        let texts =
            |node: &str| self.namespaces.addresses(node).iter().map(ToString::to_string).collect();
        let others = self.namespaces.names().map(|node| (node.to_owned(), texts(node)));
        nodes
            .map(|node| {
                let addresses = node.addresses().map(|address| address.to_string()).collect();
                (node.name().to_owned(), addresses)
            })
            .chain(others)
            .collect()
    }
}

/// A fault whose healing begins a phase.
struct Noted<'a> {
    active: Box<dyn ActiveFault + 'a>,
    world: &'a LabWorld,
}

impl ActiveFault for Noted<'_> {
    fn began(&mut self, fault: &str) {
        self.active.began(fault);
    }

    fn over(&self) -> bool {
        self.active.over()
    }

    fn operations(&mut self) -> Vec<Operation> {
        self.active.operations()
    }

    fn outcome(&mut self) -> Option<Outcome> {
        self.active.outcome()
    }

    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        self.world.begin_phase();
        self.active.heal()
    }
}
