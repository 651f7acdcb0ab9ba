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
    let named = document.node.is_some() || document.process.is_some();
    let which = match &document.path {
        Some(path) if named => {
            let problem = Problem::Exclusive { one: "path", other: "process" };
            return Err((path.referenced.into(), problem));
        }
        Some(path) => DiskPlace::Path(path.value.clone()),
        None => {
            let what = "the fault `disk-fill` without `path`";
            DiskPlace::Data(observe::process(context, document, place, what)?)
        }
    };
    let force = document.force.as_ref().is_some_and(|force| force.value);
    Ok(DiskFillSpec { place: which, level, force })
}
