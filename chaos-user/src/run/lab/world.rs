//! What the conductor asks of a lab, or of this host.

use super::LabWorld;
use crate::experiment::{Activity, FaultSpec, FaultWork, Observation, PressureSpec, Span};
use crate::lab::Lab;
use crate::probe;
use crate::run::event::RuleText;
use crate::run::logs::LogFile;
use crate::run::world::{ActiveFault, Outcome, Proof, Trouble, World};
use crate::run::{
    descriptors, disk_error, disk_fill, netem, network, pressure, process, service, workload,
};
use crate::target;
use crate::workload::{Operation, Surroundings};

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
