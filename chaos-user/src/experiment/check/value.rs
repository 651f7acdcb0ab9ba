//! Single values.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::Failed;
use crate::experiment::document::Text;
use crate::experiment::error::Problem;
use crate::experiment::units::{Span, nearest};

/// One of a closed list of words.
pub(super) fn word<T: Copy>(
    given: &Text,
    what: &'static str,
    known: &[(&'static str, T)],
) -> Result<T, Failed> {
    known.iter().find(|(word, _)| *word == given.value).map(|(_, meaning)| *meaning).ok_or_else(
        || {
            let words = known.iter().map(|(word, _)| *word);
            let problem = Problem::UnknownWord {
                what,
                given: given.value.clone(),
                nearest: nearest(&given.value, words.clone()).map(ToOwned::to_owned),
                known: words.collect::<Vec<_>>().join(", "),
            };
            (given.referenced.into(), problem)
        },
    )
}

/// A duration: a text with a unit, or a bare number of seconds where the Chaos Toolkit has one.
pub(super) fn span(given: &Spanned<Value>, what: &'static str) -> Result<Span, Failed> {
    let place = given.referenced.into();
    let wanted = || Problem::Value {
        what,
        wanted: "a duration such as `500ms`, or a number of seconds",
        given: given.value.to_string(),
    };
    match &given.value {
        Value::String(text) => text.parse().map_err(|error| (place, Problem::Unit(error))),
        // The longest of [connect, read]: one bound holds for the whole exchange here.
        Value::Array(parts) if !parts.is_empty() => {
            let spans = parts.iter().map(seconds).collect::<Option<Vec<_>>>();
            spans.and_then(|spans| spans.into_iter().max()).ok_or_else(|| (place, wanted()))
        }
        other => seconds(other).ok_or_else(|| (place, wanted())),
    }
}

fn seconds(value: &Value) -> Option<Span> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=1e9).contains(seconds))?;
    Some(Span::from_nanos((seconds * 1e9).round() as u64))
}
