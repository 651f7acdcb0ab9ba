//! Filled filesystems.

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::{DiskFillSpec, DiskPlace};
use crate::fault::{ActiveDiskFill, DiskFill, Journal, RuleEvidence};

/// What it will do, in words: taking the room, and what that does to others.
pub(super) fn explain(name: &str, spec: &DiskFillSpec) -> Vec<RuleText> {
    let place = place(&spec.place);
    let mut rules = vec![RuleText {
        rule: format!("{name}: room taken"),
        text: format!("fill the filesystem of {place} {}", spec.level),
    }];
    if spec.level.is_full() {
        rules.push(RuleText {
            rule: format!("{name}: no space left"),
            text: "writes then find no space (ENOSPC)".into(),
        });
    }
    rules
}

/// A filesystem, in words.
pub(super) fn place(place: &DiskPlace) -> String {
    match place {
        DiskPlace::Path(path) => path.clone(),
        DiskPlace::Data(target) => format!("the data of {} of {}", target.process, target.node),
    }
}

/// Fills it.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    spec: &DiskFillSpec,
    fill: DiskFill,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let active = fill.start(journal).map_err(|error| Trouble::new(&error, error.exit()))?;
    let rules = explain(name, spec).into_iter().map(|rule| rule.rule).collect();
    Ok(Box::new(Filled { active, rules }))
}

struct Filled {
    active: ActiveDiskFill,
    rules: Vec<String>,
}

impl ActiveFault for Filled {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        let seen = self.active.heal().map_err(|why| {
            let text = format!("{why}; look at it with `df`");
            Trouble { text, exit: Exit::NotHealed }
        })?;
        // A filesystem that was as full before was not made so by the fault.
        let refused = if seen.bytes > 0 { seen.refused } else { 0 };
        let acted = [(seen.taken, seen.bytes), (refused, 0)];
        let evidence = self.rules.into_iter().zip(acted).map(|(rule, (acted, bytes))| {
            RuleEvidence { rule, seen: seen.looks, matched: acted, acted, bytes }
        });
        let mut remarks = Vec::new();
        if seen.bytes == 0 {
            let before = seen.before.percent_used();
            remarks.push(format!("it was {before:.0} % full before, so nothing had to be taken"));
        }
        Ok((evidence.collect(), remarks).into())
    }
}
