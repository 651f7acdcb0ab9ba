//! `parallel: […]` in a method.

use serde_saphyr::Spanned;

use super::{Checked, Failed};
use crate::experiment::activity::Activity;
use crate::experiment::document::ActivityDocument;
use crate::experiment::error::Problem;

type Written = Spanned<ActivityDocument>;

/// An element of a method, or the members of a group.
pub(super) fn members(element: &Written) -> &[Written] {
    match &element.value.parallel {
        Some(members) => members,
        None => std::slice::from_ref(element),
    }
}

/// The activities of a method in order, each with the number of its group.
pub(super) fn method<'a>(
    elements: &'a [Written],
    activity: impl Fn(&'a Written) -> Checked,
) -> Result<Vec<Activity>, Failed> {
    let mut all = Vec::new();
    for (number, element) in elements.iter().enumerate() {
        let grouped = element.value.parallel.is_some();
        if grouped {
            alone(element)?;
        }
        for member in members(element) {
            if grouped && member.value.parallel.is_some() {
                let why = "groups of `parallel` activities cannot be in one another";
                return Err((member.referenced.into(), Problem::Pointless(why)));
            }
            let mut one = activity(member)?;
            if grouped {
                one.group = Some(number);
                one.background = true;
            }
            all.push(one);
        }
    }
    Ok(all)
}

/// A group has members, and nothing else.
fn alone(element: &Written) -> Result<(), Failed> {
    let document = &element.value;
    let others = [
        ("ref", document.reference.is_some()),
        ("name", document.name.is_some()),
        ("type", document.kind.is_some()),
        ("provider", document.provider.is_some()),
        ("tolerance", document.tolerance.is_some()),
        ("pauses", document.pauses.is_some()),
        ("from", document.from.is_some()),
        ("during", document.during.is_some()),
        ("within", document.within.is_some()),
    ];
    if let Some((other, _)) = others.into_iter().find(|(_, present)| *present) {
        return Err((element.referenced.into(), Problem::Exclusive { one: "parallel", other }));
    }
    if members(element).is_empty() {
        let why = "a `parallel` group without activities does nothing";
        return Err((element.referenced.into(), Problem::Pointless(why)));
    }
    Ok(())
}
