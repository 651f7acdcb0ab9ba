//! Workloads: clients that load the system, as faults.

use super::event::RuleText;
use super::world::{ActiveFault, Outcome, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::WorkloadSpec;
use crate::fault::RuleEvidence;
use crate::workload::{Operation, Running, Surroundings, Watched};

/// What it will do, in words.
pub(super) fn explain(name: &str, spec: &WorkloadSpec) -> RuleText {
    RuleText { rule: name.to_owned(), text: spec.describe() }
}

/// Prepares it and releases its clients.
pub(super) fn inject<'a>(
    name: &str,
    spec: &WorkloadSpec,
    watched: Option<Watched<'a>>,
    surroundings: &Surroundings<'_>,
) -> Result<Box<dyn ActiveFault + 'a>, Trouble> {
    let running = Running::begin(name, spec, watched, surroundings);
    let running = running.map_err(|error| Trouble::new(&error, Exit::HostUnable))?;
    Ok(Box::new(Loaded { running, evidence: None }))
}

struct Loaded<'a> {
    running: Running<'a>,
    evidence: Option<(RuleEvidence, Vec<String>)>,
}

impl ActiveFault for Loaded<'_> {
    fn began(&mut self, fault: &str) {
        self.running.began(fault);
    }

    fn over(&self) -> bool {
        self.running.over()
    }

    fn operations(&mut self) -> Vec<Operation> {
        self.running.operations()
    }

    fn outcome(&mut self) -> Option<Outcome> {
        let finished = self.running.finish();
        self.evidence = Some((finished.evidence, finished.remarks));
        Some(Outcome { seen: finished.seen, operations: self.running.operations() })
    }

    fn heal(mut self: Box<Self>) -> Result<Proof, Trouble> {
        if self.evidence.is_none() {
            self.outcome();
        }
        let (evidence, remarks) = self.evidence.take().unzip();
        Ok((evidence.into_iter().collect(), remarks.unwrap_or_default()).into())
    }
}
