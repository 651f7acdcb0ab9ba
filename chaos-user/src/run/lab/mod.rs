//! The real world: a lab, if the experiment has one, else this host.

mod subject;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::containers::ContainerLogs;
use super::logs::LogFile;
use super::namespaces::Namespaces;
use super::world::Trouble;
use crate::exit::Exit;
use crate::experiment::{Experiment, LogCall, LogSource, Provider, Variables};
use crate::fault::{Entry, Journal, LabUndo, Record};
use crate::host::ProcessId;
use crate::kernel::netns::{NetNs, NetNsRuntime};
use crate::lab::{Lab, LabNode};
use crate::plan::Rule;
use crate::probe::Memory;
use crate::target::Spawner;

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

    fn journal(&self) -> Result<&Journal, Trouble> {
        self.journal.as_ref().ok_or_else(|| Trouble {
            text: "a fault needs a journal, and this run has none".into(),
            exit: Exit::ToolFailed,
        })
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
