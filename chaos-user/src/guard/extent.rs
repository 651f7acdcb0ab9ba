//! How far a plan reaches at most: its blast radius.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::experiment::units::{Percent, Span};
use crate::experiment::{
    Behavior, Confined, DescriptorsSpec, DiskFillSpec, DiskPlace, Experiment, FaultSpec, FaultWork,
    NetworkSpec, Provider, Subject,
};
use crate::fault::Harm;
use crate::plan::{Action, Loss, Rule};

/// How far one fault reaches at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultExtent {
    /// Its name.
    pub fault: String,
    /// How long it lasts.
    pub duration: Span,
    /// The largest share of packets that it loses, refuses, damages or multiplies.
    pub loss: Percent,
    /// The longest time that it holds packets up.
    pub delay: Span,
    /// The share of the flows that it chooses from, if it is about packets.
    pub flows: Percent,
    /// The hosts whose packets or processes it hits.
    pub hosts: BTreeSet<String>,
    /// The processes, units or containers that it hits.
    pub instances: BTreeSet<String>,
}

/// How far a plan reaches at most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extent {
    /// Every fault.
    pub faults: Vec<FaultExtent>,
    /// How many hosts there are, hit or not.
    pub hosts_known: usize,
    /// From the first fault to the end of the last, if nothing else took time.
    pub lasts: Span,
}

/// What hosts are called when there is no lab.
const THIS_HOST: &str = "this host";

impl FaultExtent {
    /// Of a fault about nothing yet.
    fn none(fault: &str, duration: Span) -> Self {
        Self {
            fault: fault.to_owned(),
            duration,
            loss: Percent::ZERO,
            delay: Span::ZERO,
            flows: Percent::ZERO,
            hosts: BTreeSet::new(),
            instances: BTreeSet::new(),
        }
    }

    /// Of rules on this host.
    pub fn of_rules(fault: &str, rules: &[Rule], duration: Span) -> Self {
        let mut extent = Self::none(fault, duration);
        extent.hosts.insert(THIS_HOST.to_owned());
        for rule in rules.iter().filter(|rule| rule.action != Action::Protect) {
            extent.loss = extent.loss.max(lost(&rule.action));
            extent.flows = extent.flows.max(rule.selector.flows.unwrap_or(Percent::ALL));
            if matches!(rule.action, Action::Detour(_)) {
                // A rule does not say for how long; see `delaying`.
                extent.delay = Span::from_nanos(u64::MAX);
            }
        }
        extent
    }

    /// Of a whole device of this host.
    pub fn of_device(fault: &str, harm: &Harm, duration: Span) -> Self {
        let mut extent = Self::none(fault, duration).delaying(harm.delay);
        extent.hosts.insert(THIS_HOST.to_owned());
        extent.loss = harm.loss;
        extent.flows = Percent::ALL;
        extent
    }

    /// The same, knowing the longest time that it holds packets up.
    #[must_use]
    pub fn delaying(self, delay: Span) -> Self {
        Self { delay, ..self }
    }

    fn of(fault: &str, spec: &FaultSpec) -> Self {
        let mut extent = Self::none(fault, spec.duration);
        match &spec.work {
            FaultWork::Network(network) => extent.network(network),
            FaultWork::Netem(netem) => {
                let host = netem.node.clone().unwrap_or_else(|| THIS_HOST.to_owned());
                extent.hosts.insert(host);
                extent.flows = Percent::ALL;
                let Harm { loss, delay, .. } = Harm::of_netem(&netem.netem);
                (extent.loss, extent.delay) = (loss, delay);
            }
            FaultWork::DiskFill(DiskFillSpec { place, .. }) => extent.disk(place),
            FaultWork::DiskError(spec) => {
                extent.disk(&spec.place);
                extent.instances.extend(spec.scope.as_ref().map(ToString::to_string));
            }
            FaultWork::Service(service, _) => {
                extent.hosts.insert(THIS_HOST.to_owned());
                extent.instances.insert(service.to_string());
            }
            FaultWork::Descriptors(DescriptorsSpec { subject, .. }) => extent.subject(subject),
            FaultWork::Pressure(spec) => match &spec.confined {
                Confined::Subject(subject) => extent.subject(subject),
                Confined::Cgroup(_) => {
                    extent.hosts.insert(THIS_HOST.to_owned());
                    extent.instances.insert(spec.confined.to_string());
                }
            },
            FaultWork::Process(target, _) => {
                extent.hosts.insert(target.node.clone());
                extent.instances.insert(format!("{}/{}", target.node, target.process));
            }
            // What its requests load is not said; where it watches a process, that is it.
            FaultWork::Workload(workload) => match (&workload.watch, &workload.from) {
                (Some(subject), _) => extent.subject(subject),
                (None, from) => {
                    extent.hosts.insert(from.clone().unwrap_or_else(|| THIS_HOST.to_owned()));
                }
            },
        }
        extent
    }

    fn subject(&mut self, subject: &Subject) {
        match subject {
            Subject::Process(target) => {
                self.hosts.insert(target.node.clone());
                self.instances.insert(format!("{}/{}", target.node, target.process));
            }
            Subject::Service(_) | Subject::PidFile(_) => {
                self.hosts.insert(THIS_HOST.to_owned());
                self.instances.insert(subject.to_string());
            }
        }
    }

    fn disk(&mut self, place: &DiskPlace) {
        match place {
            DiskPlace::Path(_) => {
                self.hosts.insert(THIS_HOST.to_owned());
            }
            DiskPlace::Data(target) => {
                self.hosts.insert(target.node.clone());
                self.instances.insert(format!("{}/{}", target.node, target.process));
            }
        }
    }

    fn network(&mut self, spec: &NetworkSpec) {
        self.hosts.extend(spec.nodes.iter().cloned());
        if spec.nodes.is_empty() {
            self.hosts.insert(THIS_HOST.to_owned());
        }
        self.flows = spec.flows.unwrap_or(Percent::ALL);
        if let Some(detour) = &spec.detour {
            self.delay = detour.impairment.longest();
            return;
        }
        match &spec.behavior {
            Behavior::Drop(loss) => self.loss = share(*loss),
            // How much a policer lets through depends on the traffic.
            Behavior::Reject | Behavior::Police(_) => self.loss = Percent::ALL,
            Behavior::Duplicate(duplicate) => self.loss = share(duplicate.share),
            Behavior::Corrupt(corrupt) => self.loss = share(corrupt.share),
        }
    }
}

fn lost(action: &Action) -> Percent {
    match action {
        Action::Protect | Action::Detour(_) => Percent::ZERO,
        Action::Drop(loss) => share(*loss),
        // How much a policer lets through depends on the traffic.
        Action::Reject(_) | Action::Police(_) => Percent::ALL,
        Action::Corrupt(corrupt) => share(corrupt.share),
        Action::Duplicate(duplicate) => share(duplicate.share),
    }
}

/// The share that is lost in the long run, in the worse state of a chain.
fn share(loss: Loss) -> Percent {
    match loss {
        Loss::Always => Percent::ALL,
        Loss::Random(share) | Loss::Exact(share) => share,
        Loss::EveryNth(n) => {
            Percent::from_ppb(Percent::ALL.ppb().div_ceil(n.max(1))).unwrap_or(Percent::ALL)
        }
        Loss::GilbertElliott { loss_in_bad, loss_in_good, .. } => loss_in_bad.max(loss_in_good),
    }
}

impl Extent {
    /// Of an experiment in a lab with so many nodes (0 without one).
    pub fn of(experiment: &Experiment, nodes: usize) -> Self {
        let mut extent = Self { hosts_known: nodes.max(1), ..Self::default() };
        for activity in experiment.method.iter().chain(&experiment.recovery_steps) {
            let pauses =
                activity.pauses.before.nanos().saturating_add(activity.pauses.after.nanos());
            let mut lasts = pauses;
            if let Provider::Fault(fault) = &activity.provider {
                extent.faults.push(FaultExtent::of(&activity.name, fault));
                lasts = lasts.saturating_add(fault.duration.nanos());
            }
            // One after another is the longest that faults in the background can take, too.
            extent.lasts = Span::from_nanos(extent.lasts.nanos().saturating_add(lasts));
        }
        extent
    }

    /// Of one fault on this host.
    pub fn of_fault(fault: FaultExtent) -> Self {
        Self { lasts: fault.duration, faults: vec![fault], hosts_known: 1 }
    }

    /// Every host that is hit.
    pub fn hosts(&self) -> BTreeSet<&str> {
        self.faults.iter().flat_map(|fault| &fault.hosts).map(String::as_str).collect()
    }

    /// Every process, unit or container that is hit.
    pub fn instances(&self) -> BTreeSet<&str> {
        self.faults.iter().flat_map(|fault| &fault.instances).map(String::as_str).collect()
    }

    /// The largest share of flows.
    pub fn flows(&self) -> Percent {
        self.faults.iter().map(|fault| fault.flows).max().unwrap_or(Percent::ZERO)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return f.write_str("no fault");
        }
        let (hosts, instances) = (self.hosts(), self.instances());
        write!(f, "{} of {} hosts", hosts.len(), self.hosts_known.max(hosts.len()))?;
        names(f, &hosts)?;
        if self.flows() > Percent::ZERO {
            write!(f, ", up to {} of the chosen flows", self.flows())?;
        }
        if !instances.is_empty() {
            let plural = if instances.len() == 1 { "" } else { "es" };
            write!(f, ", {} process{plural}", instances.len())?;
            names(f, &instances)?;
        }
        write!(f, ", for up to {}", self.lasts)
    }
}

fn names(f: &mut fmt::Formatter<'_>, names: &BTreeSet<&str>) -> fmt::Result {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    write!(f, " ({}", shown.join(", "))?;
    if names.len() > SHOWN {
        write!(f, " and {} more", names.len() - SHOWN)?;
    }
    f.write_str(")")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_reach_of_an_experiment_is_that_of_its_faults() {
        let text = r"
title: t
lab: lab.yaml
method:
  - { name: cut, type: action, background: true, pauses: { before: 1 },
      provider: { type: chaos, fault: partition, between: [[a, b], [c]], duration: 5s, flows: 25% } }
  - { name: some, type: action,
      provider: { type: chaos, fault: drop, node: a, loss: 3%, duration: 2s } }
  - { name: kill, type: action,
      provider: { type: chaos, fault: kill, node: c, process: server, duration: 4s } }
";
        let experiment = Experiment::parse(text, Path::new("e")).unwrap();
        let extent = Extent::of(&experiment, 4);
        assert_eq!(extent.faults[0].loss, Percent::ALL);
        assert_eq!(extent.faults[1].loss, "3%".parse().unwrap());
        assert_eq!(extent.faults[0].flows, "25%".parse().unwrap());
        insta::assert_snapshot!(extent, @"3 of 4 hosts (a, b, c), up to 100% of the chosen flows, 1 process (c/server), for up to 12s");
    }

    #[test]
    fn losses_are_counted_by_their_worst() {
        let percent = |text: &str| text.parse::<Percent>().unwrap();
        assert_eq!(share(Loss::EveryNth(3)), Percent::from_ppb(333_333_334).unwrap());
        assert_eq!(share(Loss::EveryNth(0)), Percent::ALL);
        let chain = Loss::GilbertElliott {
            p: percent("1%"),
            r: percent("25%"),
            loss_in_bad: percent("80%"),
            loss_in_good: percent("2%"),
        };
        assert_eq!(share(chain), percent("80%"));
    }
}
