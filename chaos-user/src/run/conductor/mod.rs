//! The order of things: steady state, method, faults, recovery, rollbacks, invariants.

mod in_force;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use self::in_force::InForce;
use super::continuous::{Stage, Watched, watch};
use super::event::{Ended, Role, What};
use super::group::Group;
use super::introduction::info;
use super::log::EventLog;
use super::logs::following;
use super::performed::{perform, record};
use super::signals::Interrupt;
use super::world::{ActiveFault, Trouble, World};
use super::{recovery, safeguard};
use crate::exit::Exit;
use crate::experiment::{Activity, Experiment, Observation, Phase, Provider, RollbackStrategy};
use crate::guard::Clearance;

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

    fn perform(&self, activity: &Activity, role: Role) -> Option<bool> {
        perform(self.world, self.log, self.experiment, activity, role)
    }
}
