//! Tolerances.

use regex::Regex;
use serde_json::{Map, Value};
use serde_json_path::JsonPath;

use super::Failed;
use crate::experiment::error::{Place, Problem};
use crate::experiment::tolerance::Tolerance;
use crate::experiment::units::nearest;

const TYPES: [&str; 6] = ["regex", "jsonpath", "range", "fails", "latency", "all"];

pub(super) fn tolerance(value: &Value, place: Place) -> Result<Tolerance, Failed> {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(Tolerance::Equals(value.clone()))
        }
        Value::Array(values) => Ok(Tolerance::OneOf(values.clone())),
        Value::Object(map) => typed(map, place),
        Value::Null => Err((
            place,
            Problem::Value {
                what: "a tolerance",
                wanted: "a value, a list, or a map with a `type`",
                given: "null".into(),
            },
        )),
    }
}

fn typed(map: &Map<String, Value>, place: Place) -> Result<Tolerance, Failed> {
    let kind = match map.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        _ => {
            return Err((
                place,
                Problem::Missing {
                    what: "a tolerance".into(),
                    key: "type",
                    purpose: "one of regex, jsonpath, range, fails, latency, all",
                },
            ));
        }
    };
    let keys = |known: &[&str]| unknown_key(map, known, place);
    let target = match map.get("target") {
        None | Some(Value::Null) => None,
        Some(Value::String(target)) => Some(target.clone()),
        Some(other) => return Err((place, wanted("`target`", "a key of the output", other))),
    };
    match kind {
        "regex" => {
            keys(&["pattern", "target"])?;
            let pattern = text(map, "pattern", "the pattern to look for", place)?;
            let compiled = Regex::new(pattern).map_err(|error| {
                let why = error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim()
                    .trim_start_matches("error: ")
                    .to_owned();
                let (what, pattern) = ("regular expression", pattern.to_owned());
                (place, Problem::Pattern { what, pattern, why })
            })?;
            Ok(Tolerance::Regex { pattern: compiled, target })
        }
        "jsonpath" => {
            keys(&["path", "target", "count", "expect"])?;
            let path = text(map, "path", "the path to follow", place)?.trim();
            let compiled = JsonPath::parse(path).map_err(|error| {
                let (what, pattern) = ("JSONPath", path.to_owned());
                (place, Problem::Pattern { what, pattern, why: error.to_string() })
            })?;
            let count = match map.get("count") {
                None | Some(Value::Null) => None,
                Some(count) => Some(
                    count
                        .as_u64()
                        .and_then(|count| usize::try_from(count).ok())
                        .ok_or_else(|| (place, wanted("`count`", "a whole number", count)))?,
                ),
            };
            let expect = map.get("expect").cloned();
            Ok(Tolerance::JsonPath { text: path.to_owned(), path: compiled, target, count, expect })
        }
        "range" => {
            keys(&["range", "target"])?;
            let range = map.get("range").unwrap_or(&Value::Null);
            match range.as_array().map(Vec::as_slice) {
                Some([low, high]) => match (low.as_f64(), high.as_f64()) {
                    (Some(low), Some(high)) if low <= high => {
                        Ok(Tolerance::Range { low, high, target })
                    }
                    _ => Err((place, wanted("`range`", "two numbers, the lower first", range))),
                },
                _ => Err((place, wanted("`range`", "two numbers, the lower first", range))),
            }
        }
        "fails" => keys(&[]).map(|()| Tolerance::Fails),
        "latency" => {
            keys(&["below"])?;
            let below = text(map, "below", "a duration such as `500ms`", place)?;
            let below = below.parse().map_err(|error| (place, Problem::Unit(error)))?;
            Ok(Tolerance::Latency(below))
        }
        "all" => {
            keys(&["of"])?;
            match map.get("of") {
                Some(Value::Array(parts)) if !parts.is_empty() => {
                    let parts = parts.iter().map(|part| tolerance(part, place));
                    Ok(Tolerance::All(parts.collect::<Result<_, _>>()?))
                }
                other => {
                    let other = other.unwrap_or(&Value::Null);
                    Err((place, wanted("`of`", "a list of tolerances", other)))
                }
            }
        }
        "probe" => Err((
            place,
            Problem::Pointless(
                "tolerances of type probe are not run; use regex, jsonpath, range or latency",
            ),
        )),
        other => Err((
            place,
            Problem::UnknownWord {
                what: "a type of tolerance",
                given: other.to_owned(),
                nearest: nearest(other, TYPES).map(ToOwned::to_owned),
                known: TYPES.join(", "),
            },
        )),
    }
}

fn unknown_key(map: &Map<String, Value>, known: &[&str], place: Place) -> Result<(), Failed> {
    let unknown = map.keys().find(|key| *key != "type" && !known.contains(&key.as_str()));
    match unknown {
        None => Ok(()),
        Some(key) => Err((
            place,
            Problem::UnknownKey {
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()).map(ToOwned::to_owned),
                known: ["type"].iter().chain(known).map(ToString::to_string).collect(),
            },
        )),
    }
}

fn text<'a>(
    map: &'a Map<String, Value>,
    key: &'static str,
    purpose: &'static str,
    place: Place,
) -> Result<&'a str, Failed> {
    map.get(key).and_then(Value::as_str).ok_or_else(|| {
        (place, Problem::Missing { what: "a tolerance of this type".into(), key, purpose })
    })
}

fn wanted(what: &'static str, wanted: &'static str, given: &Value) -> Problem {
    Problem::Value { what, wanted, given: given.to_string() }
}
