//! Filesystems to be filled.

use super::activity::Context;
use super::{Failed, observe};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::{DiskFillSpec, DiskPlace};
use crate::experiment::units::Percent;
use crate::plan::FillLevel;

/// The keys of the fault.
pub(super) const KEYS: &str = "fault, duration, path, node, process, level, leave, force";

pub(super) fn disk_fill(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<DiskFillSpec, Failed> {
    let level = match (&document.level, &document.leave) {
        (Some(_), Some(leave)) => {
            let problem = Problem::Exclusive { one: "level", other: "leave" };
            return Err((leave.referenced.into(), problem));
        }
        (Some(level), None) => FillLevel::Share(level.value),
        (None, Some(leave)) => FillLevel::Leave(leave.value),
        (None, None) => FillLevel::Share(Percent::ALL),
    };
    let which = self::place(context, document, place, "the fault `disk-fill` without `path`")?;
    let force = document.force.as_ref().is_some_and(|force| force.value);
    Ok(DiskFillSpec { place: which, level, force })
}

/// The filesystem: of a folder, or of the data of a process of the lab.
pub(super) fn place(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
    without_path: &str,
) -> Result<DiskPlace, Failed> {
    let named = document.node.is_some() || document.process.is_some();
    match &document.path {
        Some(path) if named => {
            let problem = Problem::Exclusive { one: "path", other: "process" };
            Err((path.referenced.into(), problem))
        }
        Some(path) => Ok(DiskPlace::Path(path.value.clone())),
        None => observe::process(context, document, place, without_path).map(DiskPlace::Data),
    }
}
