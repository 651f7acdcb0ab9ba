//! The order of things: steady state, method, faults, recovery, rollbacks, invariants.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::continuous::{Stage, Watched, watch};
use super::event::{Ended, FORMAT, FaultInfo, Healed, ProbeSpec, Role, RunInfo, What};
use super::group::Group;
use super::log::EventLog;
use super::logs::following;
use super::performed::{perform, record};
use super::signals::Interrupt;
use super::world::{ActiveFault, Proof, Trouble, World};
use super::written::written;
use super::{recovery, safeguard};
use crate::exit::Exit;
use crate::experiment::{
    Activity, Experiment, FaultSpec, FaultWork, Observation, Phase, Provider, RollbackStrategy,
    Span,
};
use crate::guard::Clearance;
use crate::workload::Operation;

/// How often something that is waited for is looked at.
const TICK: Duration = Duration::from_millis(10);

/// What a run needs to know besides the experiment.
#[derive(Debug, Clone)]
pub struct Options {
    /// The experiment's name.
    pub name: String,
    /// Seeds every random decision.
    pub seed: u64,
    /// This host's name.
    pub host: String,
    /// The operating system and its version.
    pub platform: String,
    /// Whether the user asked to stop.
    pub interrupt: Interrupt,
    /// What the guards said: it may begin, or why not.
    pub clearance: Result<Clearance, Vec<String>>,
}

/// Runs an experiment in the world that `make` makes, and records it in `log`. Whatever happens,
/// faults are healed, the world is gone and the log is complete when this returns.
pub fn conduct<W: World>(
    experiment: &Experiment,
    make: impl FnOnce() -> Result<W, Trouble>,
    log: &EventLog<'_>,
    options: &Options,
) {
    log.record(What::Began(Box::new(info(experiment, options))));
    let mut ended = Ended::default();
    match &options.clearance {
        Ok(clearance) => log.record(What::Cleared(Box::new(clearance.clone()))),
        Err(reasons) => {
            log.record(What::Refused(reasons.clone()));
            log.record(What::Ended(ended));
            return;
        }
    }
    match make() {
        Ok(world) => {
            log.record(What::Ready(world.nodes()));
            let runtime = experiment.runtime;
            let fails_in = if experiment.has_fault() { Phase::Fault } else { Phase::Before };
            let stage = Stage::new(Some(fails_in).filter(|_| runtime.fail_fast));
            let tripped = AtomicBool::new(false);
            let mut run = Run {
                experiment,
                world: &world,
                log,
                options,
                stage: &stage,
                active: Vec::new(),
                injected: false,
                tripped: &tripped,
            };
            ended.rolled_back = following(&world, log, || run.all(&mut ended.left));
        }
        // What was being made was called off, which is no trouble.
        Err(_) if options.interrupt.asked() => log.record(called_off(&options.interrupt)),
        Err(trouble) => log.record(What::trouble(trouble.text, trouble.exit)),
    }
    log.record(What::Ended(ended));
}

fn called_off(interrupt: &Interrupt) -> What {
    match interrupt.because() {
        Some(why) => What::trouble(why.to_owned(), Exit::ToolFailed),
        None => What::Interrupted,
    }
}

fn info(experiment: &Experiment, options: &Options) -> RunInfo {
    let steady = experiment.hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes);
    let spec = |activity: &Activity, steady| {
        activity.tolerance.as_ref().map(|tolerance| ProbeSpec {
            name: activity.name.clone(),
            steady,
            expected: tolerance.to_string(),
            during: activity.during,
            within: activity.within,
            share: tolerance.share(),
            detects: activity.detects,
        })
    };
    let others = experiment.method.iter().chain(&experiment.rollbacks);
    let others = others.chain(&experiment.invariants);
    let faults = |one: &&Activity| matches!(one.provider, Provider::Fault(_));
    RunInfo {
        format: FORMAT,
        tool: env!("CARGO_PKG_VERSION").into(),
        name: options.name.clone(),
        title: experiment.title.clone(),
        seed: options.seed,
        host: options.host.clone(),
        platform: options.platform.clone(),
        probes: steady
            .filter_map(|one| spec(one, true))
            .chain(others.filter_map(|one| spec(one, false)))
            .collect(),
        faults: experiment.method.iter().filter(faults).count(),
        recovery_within: experiment.recovery.within,
        recovery_stable: experiment.recovery.stable,
        frequency: experiment.runtime.frequency,
        experiment: experiment.source.clone(),
    }
}

/// Why the method was left early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Everything is to end.
    Stopped,
    /// The steady state deviated: what comes after the method goes on.
    Deviated,
}

struct Run<'a> {
    experiment: &'a Experiment,
    world: &'a dyn World,
    log: &'a EventLog<'a>,
    options: &'a Options,
    stage: &'a Stage,
    active: Vec<InForce<'a>>,
    /// Whether a safeguard did not hold.
    tripped: &'a AtomicBool,
    /// A fault was injected: what comes after the last one is no longer before the first.
    injected: bool,
}

struct InForce<'a> {
    name: String,
    until: u64,
    /// When it was injected, in the log's time.
    since: u64,
    /// The time of day then.
    wall: String,
    /// A workload beside the faults.
    beside: bool,
    activity: &'a Activity,
    fault: Box<dyn ActiveFault + 'a>,
}

impl InForce<'_> {
    /// Writes down what its clients did, in the log's time.
    fn tell(&self, mut operations: Vec<Operation>, log: &EventLog<'_>) {
        if operations.is_empty() {
            return;
        }
        for operation in &mut operations {
            operation.at = operation.at.saturating_add(self.since);
        }
        log.record(What::Operations { workload: self.name.clone(), operations });
    }
}

impl<'a> Run<'a> {
    /// Everything; says whether the rollbacks were run.
    fn all(&mut self, left: &mut Vec<String>) -> bool {
        let runtime = self.experiment.runtime;
        let open = (!runtime.hypothesis.before() || self.gate()) && self.safe();
        let mut failed = !open;
        let mut deviated = false;
        if open {
            let outcome = self.method(left);
            failed = outcome.is_err();
            if outcome != Err(Left::Stopped) && runtime.hypothesis.after() {
                deviated = !self.steady(Role::After, Phase::After);
            }
        }
        let interrupted = self.options.interrupt.asked();
        if interrupted {
            self.log.record(called_off(&self.options.interrupt));
        }
        let rolls_back = match runtime.rollbacks {
            RollbackStrategy::Always => true,
            // As with the toolkit, which then has completed.
            RollbackStrategy::Default => (!failed || deviated) && !interrupted,
            RollbackStrategy::Never => false,
            RollbackStrategy::Deviated => deviated,
        };
        if rolls_back {
            for activity in &self.experiment.rollbacks {
                self.step(activity, Role::Rollback, left);
            }
        }
        if open && !self.stopped() {
            for activity in &self.experiment.invariants {
                self.patiently(activity, Role::Invariant);
            }
        }
        rolls_back
    }

    /// Whether the steady state holds before anything is done.
    fn gate(&self) -> bool {
        self.steady(Role::Before, Phase::Before)
    }

    /// Whether every safeguard holds before anything is done.
    fn safe(&self) -> bool {
        self.experiment.safeguards.iter().all(|one| {
            let holds = || self.perform(one, Role::Safeguard) != Some(false);
            let trip = || self.log.record(What::Tripped { probe: one.name.clone() });
            safeguard::look(self.tripped, &holds, &trip);
            !self.stopped()
        })
    }

    /// Whether the user or a safeguard wants everything to end.
    fn stopped(&self) -> bool {
        self.options.interrupt.asked() || self.tripped.load(Ordering::Relaxed)
    }

    /// The probes of the steady state, one after another, up to the first that does not hold.
    fn steady(&self, role: Role, phase: Phase) -> bool {
        let probes = self.experiment.hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes);
        for probe in probes.filter(|probe| probe.during.has(phase)) {
            if self.options.interrupt.asked() {
                return false;
            }
            if !self.patiently(probe, role) {
                if role == Role::Before {
                    self.log.record(What::GateClosed { probe: probe.name.clone() });
                }
                return false;
            }
        }
        true
    }

    /// Repeats a probe until it holds, for as long as it may take.
    fn patiently(&self, probe: &Activity, role: Role) -> bool {
        let began = self.log.clock().now();
        let until = began.saturating_add(probe.within.unwrap_or_default().nanos());
        loop {
            let met = self.perform(probe, role).unwrap_or(true);
            if met || self.log.clock().now() >= until || self.options.interrupt.asked() {
                return met;
            }
            self.log.clock().sleep(self.experiment.runtime.frequency.into());
        }
    }

    fn method(&mut self, left: &mut Vec<String>) -> Result<(), Left> {
        let experiment = self.experiment;
        let strategy = experiment.runtime.hypothesis;
        let recovers = experiment.has_fault() && strategy.after();
        let watched: Vec<Watched<'_>> = experiment
            .hypothesis
            .iter()
            .flat_map(|hypothesis| &hypothesis.probes)
            .map(Watched::new)
            .collect();
        let stop = AtomicBool::new(false);
        let (world, log, stage) = (self.world, self.log, self.stage);
        let frequency = experiment.runtime.frequency;
        let tripped = self.tripped;
        thread::scope(|scope| {
            for one in &experiment.safeguards {
                let stop = &stop;
                scope.spawn(move || {
                    let done = || stop.load(Ordering::Relaxed);
                    let holds = || perform(world, log, experiment, one, Role::Safeguard);
                    let holds = || holds() != Some(false);
                    let trip = || log.record(What::Tripped { probe: one.name.clone() });
                    safeguard::watch(frequency, log.clock(), tripped, &done, &holds, &trip);
                });
            }
            let looks = strategy.during() || recovers;
            for one in watched.iter().filter(|_| looks) {
                let (stop, from) = (&stop, !strategy.during());
                scope.spawn(move || {
                    watch(one, stage, stop, from, frequency, log, &|probe| {
                        perform(world, log, experiment, probe, Role::During)
                    });
                });
            }
            let mut outcome = self.activities(scope, left);
            // Whatever is still in force has its full time, unless the method was left early.
            if outcome.is_ok() {
                outcome = self.wait(None, left);
            }
            if let (Err(Left::Deviated), Some(probe)) = (outcome, stage.deviated()) {
                log.record(What::Deviated { probe: probe.to_owned() });
            }
            self.heal_all(left);
            if outcome != Err(Left::Stopped) && recovers {
                let recovered = |run: &Self| {
                    recovery::wait(&watched, experiment.recovery, log.clock(), &|| run.stopped())
                };
                let mut steps = experiment.recovery_steps.iter();
                while !recovered(self) && !self.stopped() {
                    let Some(step) = steps.next() else { break };
                    self.step(step, Role::Recovery, left);
                }
            }
            stop.store(true, Ordering::Relaxed);
            outcome
        })
    }

    fn activities<'scope>(
        &mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        left: &mut Vec<String>,
    ) -> Result<(), Left>
    where
        'a: 'scope,
    {
        let (world, log, experiment) = (self.world, self.log, self.experiment);
        let mut group = Group::default();
        for activity in &experiment.method {
            self.tick(Duration::ZERO, left)?;
            while group.holds_up(Some(activity), |name| self.is_active(name)) {
                self.tick(TICK, left)?;
            }
            self.pause(activity.pauses.before, left)?;
            if let Provider::Fault(fault) = &activity.provider {
                self.fault(activity, fault, left)?;
            } else if activity.background {
                let run = move || perform(world, log, experiment, activity, Role::Method);
                group.started(activity, scope.spawn(run));
            } else {
                self.perform(activity, Role::Method);
            }
            self.pause(activity.pauses.after, left)?;
        }
        while group.holds_up(None, |name| self.is_active(name)) {
            self.tick(TICK, left)?;
        }
        Ok(())
    }

    fn fault(
        &mut self,
        activity: &'a Activity,
        fault: &FaultSpec,
        left: &mut Vec<String>,
    ) -> Result<(), Left> {
        let name = &activity.name;
        let rules = match self.world.explain(name, fault) {
            Ok(rules) => rules,
            Err(trouble) => return self.trouble(trouble),
        };
        let written = written(self.experiment, name);
        let beside = matches!(&fault.work, FaultWork::Workload(spec) if spec.beside);
        let (lasts, fault_name) = (fault.duration, name.clone());
        let info = FaultInfo { fault: fault_name, lasts, beside, rules, activity: written };
        // Probes go on as before meanwhile; what overlaps with the change is not judged.
        self.log.record(What::Arming(info));
        let since = self.log.clock().now();
        let wall = self.log.clock().wall();
        match self.world.inject(name, fault) {
            Ok(active) => {
                self.log.record(What::Active { fault: name.clone() });
                for one in &mut self.active {
                    one.fault.began(name);
                }
                let until = self.log.clock().now().saturating_add(fault.duration.nanos());
                let name = name.clone();
                self.active.push(InForce {
                    name,
                    until,
                    since,
                    wall,
                    beside,
                    activity,
                    fault: active,
                });
                if !beside {
                    self.injected = true;
                    self.stage.enter(Phase::Fault, self.log.clock().now());
                }
            }
            Err(trouble) => return self.trouble(trouble),
        }
        if activity.background { Ok(()) } else { self.wait(Some(name), left) }
    }

    /// A manual step, because the system did not recover by itself, or a rollback.
    fn step(&self, step: &Activity, role: Role, left: &mut Vec<String>) {
        self.log.clock().sleep(step.pauses.before.into());
        if let Provider::Fault(fault) = &step.provider {
            let (began, wall) = (self.log.clock().now(), self.log.clock().wall());
            let done = self.world.inject(&step.name, fault).and_then(ActiveFault::heal);
            let took = self.log.clock().now().saturating_sub(began);
            let (output, error) = match done {
                Ok(proof) => (serde_json::json!(proof.evidence), None),
                Err(trouble) => {
                    if trouble.exit == Exit::NotHealed {
                        left.push(trouble.text.clone());
                    }
                    (Value::Null, Some(trouble.text))
                }
            };
            let seen = Observation { output, error, took };
            record(self.world, self.log, self.experiment, step, role, (began, wall), seen);
        } else {
            self.perform(step, role);
        }
        self.log.clock().sleep(step.pauses.after.into());
    }

    fn trouble(&self, trouble: Trouble) -> Result<(), Left> {
        self.log.record(What::trouble(trouble.text, trouble.exit));
        Err(Left::Stopped)
    }

    /// Waits until a fault has ended (or all have), healing those whose time is up.
    fn wait(&mut self, name: Option<&str>, left: &mut Vec<String>) -> Result<(), Left> {
        while name.map_or(!self.active.is_empty(), |name| self.is_active(name)) {
            self.tick(TICK, left)?;
        }
        Ok(())
    }

    fn is_active(&self, name: &str) -> bool {
        self.active.iter().any(|one| one.name == name)
    }

    fn pause(&mut self, pause: Span, left: &mut Vec<String>) -> Result<(), Left> {
        let until = self.log.clock().now().saturating_add(pause.nanos());
        loop {
            let remains = until.saturating_sub(self.log.clock().now());
            if remains == 0 {
                return Ok(());
            }
            self.tick(TICK.min(Duration::from_nanos(remains)), left)?;
        }
    }

    fn tick(&mut self, most: Duration, left: &mut Vec<String>) -> Result<(), Left> {
        if self.stopped() {
            return Err(Left::Stopped);
        }
        if self.stage.deviated().is_some() {
            return Err(Left::Deviated);
        }
        let now = self.log.clock().now();
        for one in &mut self.active {
            let operations = one.fault.operations();
            one.tell(operations, self.log);
        }
        while let Some(at) = self.due(now) {
            let one = self.active.remove(at);
            self.heal(one, left);
        }
        if !self.active.is_empty() || most > Duration::ZERO {
            let next = self.active.iter().map(|one| one.until.saturating_sub(now)).min();
            let next = next.map_or(most, Duration::from_nanos);
            self.log.clock().sleep(most.min(next));
        }
        Ok(())
    }

    /// A fault whose time is up, or that ended by itself. Traffic beside faults is looked at once
    /// they are over: what it left behind is about the time after.
    fn due(&self, now: u64) -> Option<usize> {
        let faults = self.active.iter().any(|one| !one.beside);
        let over = |one: &InForce<'_>| one.fault.over() && !(one.beside && faults);
        self.active.iter().position(|one| one.until <= now || over(one))
    }

    fn heal_all(&mut self, left: &mut Vec<String>) {
        while let Some(one) = self.active.pop() {
            self.heal(one, left);
        }
    }

    fn heal(&mut self, mut one: InForce<'_>, left: &mut Vec<String>) {
        if !one.beside {
            self.stage.edge();
        }
        self.log.record(What::Healing { fault: one.name.clone() });
        let outcome = one.fault.outcome().map(|outcome| {
            one.tell(outcome.operations, self.log);
            outcome.seen
        });
        let InForce { name, fault, since, wall, beside, activity, .. } = one;
        let healed = match fault.heal() {
            Ok(Proof { evidence, held_by, delays, remarks }) => {
                Healed { fault: name, evidence, held_by, delays, error: None, remarks }
            }
            Err(trouble) => {
                if trouble.exit == Exit::NotHealed {
                    left.push(trouble.text.clone());
                } else {
                    self.log.record(What::trouble(trouble.text.clone(), trouble.exit));
                }
                let error = Some(trouble.text);
                Healed { fault: name, error, ..Healed::default() }
            }
        };
        self.log.record(What::Healed(healed));
        if let Some(seen) = outcome {
            record(
                self.world,
                self.log,
                self.experiment,
                activity,
                Role::Method,
                (since, wall),
                seen,
            );
        }
        if !beside {
            self.settle();
        }
    }

    fn settle(&self) {
        let faults = self.active.iter().any(|one| !one.beside);
        let phase = match (faults, self.injected) {
            (true, _) => Phase::Fault,
            (false, true) => Phase::After,
            (false, false) => Phase::Before,
        };
        self.stage.enter(phase, self.log.clock().now());
    }

    fn perform(&self, activity: &Activity, role: Role) -> Option<bool> {
        perform(self.world, self.log, self.experiment, activity, role)
    }
}
