//! A lab that is up.

use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::disks::Disks;
use super::error::LabError;
use super::files::{LabFiles, last_lines};
use super::net::{self, OwnNetNs};
use super::node::{LabDevice, LabNode};
use super::placeholder::{self, Values};
use super::plan::LabPlan;
use super::ready::{self, Waited};
use super::spec::{LabSpec, ProcessSpec, Ready, Restart};
use super::step::Step;
use crate::kernel::netns::NetNs;
use crate::target::{
    ExecOutput, Process, ProcessCommand, ProcessError, RestartPolicy, Spawner, Surroundings, exec,
    find_program,
};

/// How a lab is brought up and taken down.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The folder for the lab's files. It is made if need be; two labs cannot share one.
    pub state_dir: PathBuf,
    /// Whether data and logs stay when the lab is taken down.
    pub keep_files: bool,
    /// What relative program paths are relative to.
    pub base: PathBuf,
    /// How long all processes together may take to end when asked; then they are killed.
    pub grace: Duration,
}

impl LabOptions {
    /// Files in `state_dir`, removed at the end; programs relative to the working directory.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            keep_files: false,
            base: PathBuf::from("."),
            grace: Duration::from_secs(5),
        }
    }
}

/// Told before each step, and again and again while one waits; breaking calls the rest off.
pub type Watch<'a> = &'a mut (dyn FnMut(&Step<'_>) -> ControlFlow<()> + Send);

/// A lab that is up. Dropping it takes it down: last made, first gone.
#[derive(Debug)]
pub struct Lab {
    spec: LabSpec,
    plan: LabPlan,
    options: LabOptions,
    files: Option<LabFiles>,
    disks: Option<Disks>,
    spawner: Option<Arc<Spawner>>,
    switches: Vec<OwnNetNs>,
    nodes: Vec<LabNode>,
    /// (node, process) in the order of starting.
    started: Vec<(usize, usize)>,
}

impl Lab {
    /// Brings a lab up. When anything fails, what was made is gone before this returns.
    pub fn up(spec: &LabSpec, options: LabOptions) -> Result<Self, LabError> {
        Self::up_watched(spec, options, &mut |_| ControlFlow::Continue(()))
    }

    /// [`Self::up`], told step by step.
    pub fn up_watched(
        spec: &LabSpec,
        options: LabOptions,
        watch: Watch<'_>,
    ) -> Result<Self, LabError> {
        match Self::up_keeping(spec, options, watch) {
            (lab, None) => Ok(lab),
            (_, Some(error)) => Err(error),
        }
    }

    /// Brings a lab up as far as possible: on failure what was made stays, to look around in.
    pub fn up_keeping(
        spec: &LabSpec,
        options: LabOptions,
        watch: Watch<'_>,
    ) -> (Self, Option<LabError>) {
        let mut lab = Self {
            plan: LabPlan::new(spec),
            spec: spec.clone(),
            options,
            files: None,
            disks: None,
            spawner: None,
            switches: Vec::new(),
            nodes: Vec::new(),
            started: Vec::new(),
        };
        let error = lab.build(spec, watch).err();
        (lab, error)
    }

    fn build(&mut self, spec: &LabSpec, watch: Watch<'_>) -> Result<(), LabError> {
        let mut next = |step: Step<'_>| match watch(&step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LabError::Cancelled { step: step.to_string() }),
        };
        // What can be refused is refused before anything is made.
        let programs = programs(spec, &self.options.base)?;
        if let Some(network) = spec.networks().iter().find(|network| network.v6.is_some())
            && !net::has_ipv6()
        {
            return Err(LabError::NoIpv6 { network: network.name.clone() });
        }

        next(Step::Folder)?;
        let files =
            self.files.insert(LabFiles::create(&self.options.state_dir, self.options.keep_files)?);
        next(Step::Contain)?;
        self.spawner = Some(Arc::new(Spawner::contained()?));
        for network in spec.networks() {
            next(Step::Network(&network.name))?;
            self.switches.push(net::switch(&network.name)?);
        }
        let mut ports: Vec<Vec<String>> = vec![Vec::new(); spec.networks().len()];
        for (at, node) in spec.nodes().iter().enumerate() {
            next(Step::Node(&node.name))?;
            let own = net::node(&node.name, node.forward)?;
            let surroundings = Surroundings::of(own.netns().clone());
            let (name, devices) = (node.name.clone(), Vec::new());
            self.nodes.push(LabNode { name, own, devices, processes: Vec::new(), surroundings });
            for device in &self.plan.nodes[at].devices {
                let network = &spec.networks()[device.network].name;
                next(Step::Join { node: &node.name, network })?;
                let switch = &self.switches[device.network];
                let link = net::join(&self.nodes[at].own, at, device, switch)?;
                ports[device.network].push(net::port_name(at));
                self.nodes[at].devices.push(LabDevice {
                    name: link.name,
                    index: link.index,
                    mac: link.mac,
                    network: network.clone(),
                    v4: device.v4,
                    v6: device.v6,
                });
            }
        }
        for (at, network) in spec.networks().iter().enumerate() {
            next(Step::Settle(&network.name))?;
            net::settle(&self.switches[at], &ports[at])?;
        }
        for at in 0..self.nodes.len() {
            next(Step::Routes(&self.nodes[at].name))?;
            net::routes(&self.nodes[at].own, &self.plan.nodes[at])?;
            let hosts = self.plan.hosts_file(spec, at);
            self.nodes[at].surroundings.files = files.write_etc(&self.nodes[at].name, &hosts)?;
        }
        let mut disks = Vec::new();
        for node in spec.nodes() {
            for process in &node.processes {
                let folder = files.data(&node.name, &process.name)?;
                disks.extend(process.disk.map(|size| (folder, size)));
            }
        }
        if !disks.is_empty() {
            let disks = self.disks.insert(Disks::make(disks)?);
            for node in &mut self.nodes {
                node.surroundings.mounts = Some(Arc::clone(disks.namespace()));
            }
        }
        let mut programs = programs.into_iter();
        for (at, node) in spec.nodes().iter().enumerate() {
            for process in &node.processes {
                next(Step::Start { node: &node.name, process: &process.name })?;
                let program = programs.next().unwrap_or_default();
                self.start(at, process, program)?;
                let step = Step::Ready { node: &node.name, process: &process.name };
                next(step)?;
                self.wait_ready(at, &process.name, &process.ready, || next(step).is_err())?;
            }
        }
        Ok(())
    }

    fn start(&mut self, at: usize, spec: &ProcessSpec, program: PathBuf) -> Result<(), LabError> {
        let (Some(files), Some(spawner)) = (&self.files, &self.spawner) else {
            return Err(ProcessError::SpawnerGone.into());
        };
        let node = &mut self.nodes[at];
        let data = files.data_of(&node.name, &spec.name);
        let values = Values {
            data: data.display().to_string(),
            lab: self.spec.name().into(),
            node: node.name.clone(),
            v4: node.addresses().find(IpAddr::is_ipv4).map(|address| address.to_string()),
            v6: node.addresses().find(IpAddr::is_ipv6).map(|address| address.to_string()),
        };
        // The specification was checked with the same function, so this keeps every text.
        let fill =
            |text: &String| OsString::from(placeholder::fill(text, &values).unwrap_or_default());
        let command = ProcessCommand {
            name: spec.name.clone(),
            program,
            args: spec.command.iter().skip(1).map(fill).collect(),
            env: spec.env.iter().map(|(name, value)| (name.into(), fill(value))).collect(),
            directory: Some(data.clone()),
            log: files.log(&node.name, &spec.name),
        };
        let policy = match spec.restart {
            Restart::Never => RestartPolicy::Never,
            Restart::OnFailure => RestartPolicy::OnFailure,
            Restart::Always => RestartPolicy::Always,
        };
        let surroundings = Some(node.surroundings.clone());
        let process = Process::start(command, surroundings, Arc::clone(spawner), policy)?;
        self.started.push((at, node.processes.len()));
        node.processes.push(process);
        Ok(())
    }

    /// Waits until a process is ready by its specification, such as after a restart.
    pub fn await_ready(&self, node: &str, process: &str) -> Result<(), LabError> {
        let at = self.position(node)?;
        self.nodes[at].process(process)?;
        let specs = &self.spec.nodes()[at].processes;
        match specs.iter().find(|spec| spec.name == process) {
            Some(spec) => self.wait_ready(at, process, &spec.ready, || false),
            None => Ok(()),
        }
    }

    fn wait_ready(
        &self,
        at: usize,
        name: &str,
        ready: &Ready,
        cancelled: impl FnMut() -> bool + Send,
    ) -> Result<(), LabError> {
        let node = &self.nodes[at];
        let process = node.process(name)?;
        let resolve = |host: &str| self.resolve_at(at, host);
        let names = || (node.name.clone(), name.to_owned());
        let log = || last_lines(&process.command().log);
        match ready::wait(node.netns(), ready, resolve, || !process.alive(), cancelled)? {
            Waited::Ready => Ok(()),
            Waited::Cancelled => {
                let step = Step::Ready { node: &node.name, process: name };
                Err(LabError::Cancelled { step: step.to_string() })
            }
            Waited::Ended => match process.last_exit() {
                // It ended by itself, as it may if nobody said how to tell that it is ready.
                Some(exit) if *ready == Ready::Started && exit.success() => Ok(()),
                Some(exit) => {
                    let (node, process) = names();
                    Err(LabError::Died { node, process, exit, log: log() })
                }
                None => Ok(()),
            },
            Waited::TimeUp(last) => {
                let (node, process) = names();
                let within = match ready {
                    Ready::Tcp { within, .. } | Ready::Http { within, .. } => *within,
                    Ready::Started => Duration::ZERO,
                };
                Err(LabError::NotReady { node, process, within, last: Box::new(last), log: log() })
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.spec.name()
    }

    /// What it was made from.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// The folder with its data and logs.
    pub fn state_dir(&self) -> Option<&Path> {
        self.files.as_ref().map(LabFiles::root)
    }

    /// Its nodes, in the order of the specification.
    pub fn nodes(&self) -> &[LabNode] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&LabNode, LabError> {
        Ok(&self.nodes[self.position(name)?])
    }

    /// The bridge of a network: its namespace, in which node N of the specification (from 0) has
    /// the port `portN`.
    pub fn switch(&self, network: &str) -> Option<&NetNs> {
        let at = self.spec.networks().iter().position(|other| other.name == network)?;
        self.switches.get(at).map(OwnNetNs::netns)
    }

    fn position(&self, name: &str) -> Result<usize, LabError> {
        self.nodes.iter().position(|node| node.name == name).ok_or_else(|| LabError::UnknownNode {
            lab: self.name().into(),
            name: name.into(),
            known: self.nodes.iter().map(|node| node.name.clone()).collect(),
        })
    }

    /// Every name and all its addresses.
    pub fn hosts(&self) -> IndexMap<&str, Vec<IpAddr>> {
        self.nodes.iter().map(|node| (node.name(), node.addresses().collect())).collect()
    }

    /// The addresses by which `viewer` reaches `host`: a node, `localhost` or an address. Nearest
    /// first; empty if there is no such node or no way to it.
    pub fn resolve(&self, viewer: &str, host: &str) -> Result<Vec<IpAddr>, LabError> {
        Ok(self.resolve_at(self.position(viewer)?, host))
    }

    fn resolve_at(&self, viewer: usize, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return vec![address];
        }
        if host == "localhost" {
            return vec![IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
        }
        match self.spec.nodes().iter().position(|node| node.name == host) {
            Some(node) => self.plan.addresses_for(viewer, node),
            None => Vec::new(),
        }
    }

    /// What starts processes in this lab's PID namespace.
    pub fn spawner(&self) -> Result<&Arc<Spawner>, LabError> {
        Ok(self.spawner.as_ref().ok_or(ProcessError::SpawnerGone)?)
    }

    /// Runs a command on a node, for at most `within`, and returns what it did.
    pub fn exec(
        &self,
        node: &str,
        command: &[&str],
        within: Duration,
    ) -> Result<ExecOutput, LabError> {
        let node = self.node(node)?;
        let (program, args) = command.split_first().unwrap_or((&"", &[]));
        let program = find_program(program, &self.options.base)?;
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Ok(exec(&program, &args, Some(&node.surroundings), self.spawner()?, within)?)
    }

    /// The folder with the data of a process, as its processes see it.
    pub fn data_path(&self, node: &str, process: &str) -> Option<PathBuf> {
        self.files.as_ref().map(|files| files.data_of(node, process))
    }

    /// Opens the folder with the data of a process. A path to it would not do: what is mounted
    /// there is mounted for the lab's processes only.
    pub fn open_data(&self, node: &str, process: &str) -> Result<OwnedFd, LabError> {
        self.node(node)?.process(process)?;
        let path = self.files.as_ref().ok_or(ProcessError::SpawnerGone)?.data_of(node, process);
        let failed = |source| LabError::File { operation: "open", path: path.clone(), source };
        match self.disks.as_ref().and_then(|disks| disks.folder(&path)) {
            Some(folder) => folder.try_clone().map_err(failed),
            None => File::open(&path).map(OwnedFd::from).map_err(failed),
        }
    }

    /// Takes the lab down. The same as dropping it, in words.
    pub fn down(self) {
        drop(self);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.options.grace;
        while let Some((node, process)) = self.started.pop() {
            // One that hangs in the kernel cannot be helped; its namespaces end with it.
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = self.nodes[node].processes[process].stop(left);
        }
        while let Some(node) = self.nodes.pop() {
            drop(node);
        }
        while let Some(switch) = self.switches.pop() {
            drop(switch);
        }
        drop(self.spawner.take());
        drop(self.disks.take());
        drop(self.files.take());
    }
}

/// The files of all programs, in the order of the processes.
fn programs(spec: &LabSpec, base: &Path) -> Result<Vec<PathBuf>, LabError> {
    let processes = spec.nodes().iter().flat_map(|node| &node.processes);
    let program = |process: &ProcessSpec| {
        let name = process.command.first().map_or("", String::as_str);
        find_program(name, base).map_err(LabError::from)
    };
    processes.map(program).collect()
}
