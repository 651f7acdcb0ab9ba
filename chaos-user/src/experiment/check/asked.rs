//! Tolerances that are probes themselves.

use std::path::PathBuf;

use serde_json::Value;
use serde_saphyr::Spanned;

use super::activity::{Context, Role, activity};
use super::{Failed, tolerance as plain};
use crate::experiment::document::ActivityDocument;
use crate::experiment::error::{ExperimentError, Place, Problem};
use crate::experiment::provider::{Arguments, Provider};
use crate::experiment::tolerance::Tolerance;
use crate::experiment::yaml;

/// The tolerance of an activity.
pub(super) fn tolerance(
    context: &Context<'_>,
    written: &Spanned<Value>,
) -> Result<Tolerance, Failed> {
    let place = Place::from(written.referenced);
    let asks = |value: &Value| value.get("type").is_some_and(|kind| kind == "probe");
    if !asks(&written.value) {
        return plain::tolerance(&written.value, place);
    }
    let refused = |why| Err((place, Problem::Pointless(why)));
    if written.value.get("tolerance").is_some_and(asks) {
        return refused("a probe that is a tolerance is not judged by another");
    }
    if written.value.get("from").is_some() {
        return refused("a probe that is a tolerance runs where the probe does that it judges");
    }
    if written.value.get("ref").is_some() {
        return refused("a probe that is a tolerance is written out, without `ref`");
    }
    // Read as what it is; it stands where the tolerance does.
    let document: Spanned<ActivityDocument> = yaml::read(&written.value.to_string())
        .map_err(|error| (place, *ExperimentError::from_yaml(&error, PathBuf::new()).problem))?;
    let probe =
        activity(context, &document, Role::Rollback).map_err(|(_, problem)| (place, problem))?;
    let has_place = match &probe.provider {
        Provider::Http(call) => call.arguments.as_ref().is_none_or(Value::is_object),
        Provider::Process(call) => match &call.arguments {
            Arguments::List(list) => list.is_empty(),
            Arguments::Map(_) => true,
            Arguments::Line(_) => false,
        },
        _ => return refused("a probe that is a tolerance has the provider `http` or `process`"),
    };
    if !has_place {
        return refused(
            "the `arguments` of a probe that is a tolerance are a map, into which the outcome goes \
             as `value`",
        );
    }
    Ok(Tolerance::Probe(Box::new(probe)))
}
