//! Filesystems that fail.

use super::disk_fill;
use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::{CgroupName, DiskErrorSpec};
use crate::fault::{ActiveDiskError, DiskError, Entry, Journal, Record};
use crate::host::{CgroupError, Cgroups};
use crate::plan::{CgroupRef, Loss, operation_name};

/// What it will do, in words.
pub(super) fn explain(name: &str, spec: &DiskErrorSpec) -> Vec<RuleText> {
    let DiskErrorSpec { place, errno, operations, scope, share, .. } = spec;
    let place = disk_fill::place(place);
    let operations: Vec<_> = operations.iter().map(|one| operation_name(*one)).collect();
    let whose = scope.as_ref().map_or_else(|| "everybody".to_owned(), ToString::to_string);
    let share = match share {
        Loss::Always => String::new(),
        share => format!(", {share} of them"),
    };
    let text = format!(
        "{} on the filesystem of {place} fails with {errno} for {whose}{share}",
        operations.join(", ")
    );
    vec![RuleText { rule: name.to_owned(), text }]
}

/// The cgroup that is hit.
pub(super) fn cgroup(scope: &CgroupName) -> Result<CgroupRef, Trouble> {
    let found = Cgroups::find().and_then(|cgroups| match scope {
        CgroupName::Path(path) => cgroups.by_path(path),
        CgroupName::Unit(unit) => cgroups.by_unit(unit),
    });
    found.map_err(|error| trouble(&error))
}

/// Why there is none to hit.
pub(super) fn trouble(error: &CgroupError) -> Trouble {
    let exit = match error {
        CgroupError::NotMounted => Exit::HostUnable,
        _ => Exit::Usage,
    };
    Trouble::new(error, exit)
}

/// Makes it fail.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    spec: &DiskErrorSpec,
    disk: DiskError,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let active = disk.start().map_err(|error| Trouble::new(&error, error.exit()))?;
    let text = explain(name, spec).into_iter().map(|rule| rule.text).collect();
    let record = Record::Passing { name: name.to_owned(), text, deadline: active.deadline() };
    let shown = journal.append(record).map_err(|error| Trouble::tool(&error))?;
    Ok(Box::new(Failing(active, shown)))
}

/// What fails, and what `chaos status` shows of it.
struct Failing(ActiveDiskError, Entry);

impl ActiveFault for Failing {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        let Self(active, shown) = *self;
        let healed = active.heal();
        shown.done();
        let (evidence, remarks) = healed.map_err(|error| Trouble::new(&error, error.exit()))?;
        Ok((vec![evidence], remarks).into())
    }
}
