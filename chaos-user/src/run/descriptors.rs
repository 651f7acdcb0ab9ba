//! Processes that can open nothing more.

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::DescriptorsSpec;
use crate::fault::{ActiveDescriptors, Journal};
use crate::host::ProcessId;

/// What it will do, in words.
pub(super) fn explain(name: &str, spec: &DescriptorsSpec) -> RuleText {
    let DescriptorsSpec { subject, spare } = spec;
    let text = match spare {
        0 => format!("{subject} can open no more files and sockets"),
        more => format!("{subject} can open {more} more files and sockets, and no others"),
    };
    RuleText { rule: name.to_owned(), text }
}

/// Lowers the limits of these processes.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    spec: &DescriptorsSpec,
    processes: &[ProcessId],
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let what = spec.subject.to_string();
    let active = ActiveDescriptors::start(journal, &what, processes, spec.spare);
    let active = active.map_err(|error| Trouble::new(&error, error.exit()))?;
    Ok(Box::new(Exhausted { active, name: name.to_owned(), none: processes.is_empty() }))
}

struct Exhausted {
    active: ActiveDescriptors,
    name: String,
    none: bool,
}

impl ActiveFault for Exhausted {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        let seen = self.active.heal().map_err(|error| Trouble::new(&error, Exit::NotHealed))?;
        let mut remarks = Vec::new();
        if self.none {
            remarks.push("it did not run, so there was nothing to limit".into());
        } else if seen.limited > 0 && seen.exhausted == 0 {
            remarks.push("it never had as many open as it was allowed".into());
        }
        Ok((vec![seen.as_rule(&self.name)], remarks).into())
    }
}
