//! Faults of services.

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::{ProcessAct, Supervised};
use crate::fault::{ActiveService, Journal, RuleEvidence};

/// What it will do, in words.
pub(super) fn explain(name: &str, service: &Supervised, act: ProcessAct) -> RuleText {
    RuleText { rule: name.to_owned(), text: format!("{act} {service}") }
}

/// Does it.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    service: &Supervised,
    act: ProcessAct,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let active = ActiveService::start(journal, service, act);
    let active = active.map_err(|error| Trouble::new(&error, error.exit()))?;
    Ok(Box::new(Disturbed { evidence: active.evidence(name), active, act }))
}

struct Disturbed {
    active: ActiveService,
    act: ProcessAct,
    evidence: RuleEvidence,
}

impl ActiveFault for Disturbed {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        self.active.heal().map_err(|error| Trouble::new(&error, Exit::NotHealed))?;
        let mut remarks = Vec::new();
        if self.evidence.matched == 0 {
            let (found, ran) = ("before, so it was left alone", self.act == ProcessAct::Start);
            remarks.push(format!("{} {found}", if ran { "it ran" } else { "it did not run" }));
        }
        Ok((vec![self.evidence], remarks).into())
    }
}
