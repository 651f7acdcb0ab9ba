//! Filesystems that fail.

use serde_saphyr::Spanned;

use super::activity::Context;
use super::{Failed, disk, value};
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::{CgroupName, DiskErrorSpec};
use crate::plan::{DISK_OPERATIONS, DiskErrno, Loss};

/// The keys of the fault.
pub(super) const KEYS: &str = "fault, duration, path, node, process, cgroup, unit, errno, \
                               operations, share, exact, seed, force";

const NAME: &str = "the fault `disk-error`";

pub(super) fn disk_error(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<DiskErrorSpec, Failed> {
    let exclusive = |one, other, at: &Text| {
        Err((Place::from(at.referenced), Problem::Exclusive { one, other }))
    };
    let scope = match (&document.cgroup, &document.unit) {
        (Some(_), Some(unit)) => return exclusive("cgroup", "unit", unit),
        (Some(path), None) => Some(CgroupName::Path(path.value.clone())),
        (None, Some(unit)) => Some(CgroupName::Unit(unit.value.clone())),
        (None, None) => None,
    };
    let share = match (&document.share, &document.exact) {
        (Some(_), Some(exact)) => {
            let problem = Problem::Exclusive { one: "share", other: "exact" };
            return Err((exact.referenced.into(), problem));
        }
        (Some(share), None) => Loss::Random(share.value),
        (None, Some(exact)) => Loss::Exact(exact.value),
        (None, None) => Loss::Always,
    };
    let Some(errno) = &document.errno else {
        let purpose = "such as `ENOSPC`: what operations return";
        return Err((place, Problem::Missing { what: NAME.to_owned(), key: "errno", purpose }));
    };
    let errno = value::word(errno, "an error of a filesystem", &DiskErrno::WORDS)?;
    let operations = match &document.operations {
        Some(given) => operations(given)?,
        None => errno.operations(),
    };
    let which = disk::place(context, document, place, "the fault `disk-error` without `path`")?;
    let force = document.force.as_ref().is_some_and(|force| force.value);
    Ok(DiskErrorSpec { place: which, errno, operations, scope, share, force })
}

fn operations(given: &Spanned<Vec<Text>>) -> Result<Vec<chaos_common::disk::Operation>, Failed> {
    let words = given.value.iter();
    let mut found = words
        .map(|word| value::word(word, "an operation of a filesystem", &DISK_OPERATIONS))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        let (what, wanted) = ("`operations`", "at least one operation, such as `write`");
        return Err((given.referenced.into(), Problem::Value { what, wanted, given: "[]".into() }));
    }
    Ok(found)
}
