//! Faults from when they are injected until they are healed, and the time in between.

use std::time::Duration;

use super::{Left, Run, TICK};
use crate::exit::Exit;
use crate::experiment::{Activity, FaultSpec, FaultWork, Phase, Span};
use crate::run::event::{FaultInfo, Healed, Role, What};
use crate::run::log::EventLog;
use crate::run::performed::record;
use crate::run::world::{ActiveFault, Proof};
use crate::run::written::written;
use crate::workload::Operation;

pub(super) struct InForce<'a> {
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
    /// Injects a fault and, unless it is in the background, waits for its end.
    pub(super) fn fault(
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

    /// Waits until a fault has ended (or all have), healing those whose time is up.
    pub(super) fn wait(&mut self, name: Option<&str>, left: &mut Vec<String>) -> Result<(), Left> {
        while name.map_or(!self.active.is_empty(), |name| self.is_active(name)) {
            self.tick(TICK, left)?;
        }
        Ok(())
    }

    pub(super) fn is_active(&self, name: &str) -> bool {
        self.active.iter().any(|one| one.name == name)
    }

    pub(super) fn pause(&mut self, pause: Span, left: &mut Vec<String>) -> Result<(), Left> {
        let until = self.log.clock().now().saturating_add(pause.nanos());
        loop {
            let remains = until.saturating_sub(self.log.clock().now());
            if remains == 0 {
                return Ok(());
            }
            self.tick(TICK.min(Duration::from_nanos(remains)), left)?;
        }
    }

    pub(super) fn tick(&mut self, most: Duration, left: &mut Vec<String>) -> Result<(), Left> {
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

    pub(super) fn heal_all(&mut self, left: &mut Vec<String>) {
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
}
