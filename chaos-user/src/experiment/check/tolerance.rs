//! Tolerances.

use regex::Regex;
use serde_json::{Map, Value};
use serde_json_path::JsonPath;

use super::{Failed, workload};
use crate::experiment::bounds::{Bounds, Growth};
use crate::experiment::error::{Place, Problem};
use crate::experiment::tolerance::Tolerance;
use crate::experiment::units::{Bytes, nearest};

const TYPES: [&str; 11] = [
    "regex",
    "jsonpath",
    "range",
    "number",
    "count",
    "growth",
    "latency",
    "fails",
    "percentile",
    "operations",
    "all",
];

pub(super) fn tolerance(value: &Value, place: Place) -> Result<Tolerance, Failed> {
    read(value, place, true)
}

/// A tolerance inside another.
fn inner(value: &Value, place: Place) -> Result<Tolerance, Failed> {
    read(value, place, false)
}

fn read(value: &Value, place: Place, outermost: bool) -> Result<Tolerance, Failed> {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(Tolerance::Equals(value.clone()))
        }
        Value::Array(values) => Ok(Tolerance::OneOf(values.clone())),
        Value::Object(map) => typed(map, place, outermost),
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

fn typed(map: &Map<String, Value>, place: Place, outermost: bool) -> Result<Tolerance, Failed> {
    let kind = match map.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        _ => {
            return Err((
                place,
                Problem::Missing {
                    what: "a tolerance".into(),
                    key: "type",
                    purpose: "one of regex, jsonpath, range, number, count, growth, latency, fails, \
                              percentile, operations, all",
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
            keys(&["path", "target", "count", "expect", "above", "below", "at-least", "at-most"])?;
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
            let (text, bounds) = (path.to_owned(), bounds(map, place)?);
            Ok(Tolerance::JsonPath { text, path: compiled, target, count, expect, bounds })
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
        "number" | "count" => {
            keys(&["target", "above", "below", "at-least", "at-most"])?;
            let bounds = bounds(map, place)?;
            if bounds.is_empty() {
                let purpose = "or `above`, `at-least` or `at-most`";
                let what = format!("a tolerance of type {kind}");
                return Err((place, Problem::Missing { what, key: "below", purpose }));
            }
            Ok(match kind {
                "number" => Tolerance::Number { bounds, target },
                _ => Tolerance::Count { bounds, target },
            })
        }
        "growth" => {
            keys(&["target", "below"])?;
            let target = text(map, "target", "the part of the output that may grow", place)?;
            let below = growth(map.get("below").unwrap_or(&Value::Null), place)?;
            Ok(Tolerance::Growth { below, target: target.to_owned() })
        }
        "percentile" => {
            keys(&["share", "of"])?;
            if !outermost {
                let why = "a percentile counts looks, so it has to be the outermost tolerance";
                return Err((place, Problem::Pointless(why)));
            }
            let share = text(map, "share", "a percentage such as `95%`", place)?;
            let share = share.parse().map_err(|error| (place, Problem::Unit(error)))?;
            let purpose = "the tolerance that this share of looks has to meet";
            let what = "a tolerance of type percentile".to_owned();
            let of = map.get("of").ok_or((place, Problem::Missing { what, key: "of", purpose }))?;
            Ok(Tolerance::Percentile { share, of: Box::new(inner(of, place)?) })
        }
        "fails" => keys(&[]).map(|()| Tolerance::Fails),
        "latency" => {
            keys(&["below"])?;
            let below = text(map, "below", "a duration such as `500ms`", place)?;
            let below = below.parse().map_err(|error| (place, Problem::Unit(error)))?;
            Ok(Tolerance::Latency(below))
        }
        "operations" => {
            workload::operations(map, place).map(|o| Tolerance::Operations(Box::new(o)))
        }
        "all" => {
            keys(&["of"])?;
            match map.get("of") {
                Some(Value::Array(parts)) if !parts.is_empty() => {
                    let parts = parts.iter().map(|part| inner(part, place));
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
                "a tolerance of type probe belongs to a probe, as its outermost tolerance",
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

/// The limits among the keys.
fn bounds(map: &Map<String, Value>, place: Place) -> Result<Bounds, Failed> {
    let limit = |key, what| match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => amount(value)
            .map(Some)
            .ok_or_else(|| (place, wanted(what, "a number, or a size such as `64MiB`", value))),
    };
    Ok(Bounds {
        below: limit("below", "`below`")?,
        above: limit("above", "`above`")?,
        at_least: limit("at-least", "`at-least`")?,
        at_most: limit("at-most", "`at-most`")?,
    })
}

/// A number, or the bytes of a size.
fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse::<Bytes>().ok().map(|bytes| bytes.get() as f64),
        other => other.as_f64(),
    }
}

fn growth(value: &Value, place: Place) -> Result<Growth, Failed> {
    let share = value.as_str().and_then(|text| text.trim().strip_suffix('%'));
    let share = share.and_then(|number| number.trim().parse::<f64>().ok());
    let share = share.filter(|share| share.is_finite() && *share > 0.0);
    share
        .map(|share| Growth::Share(share / 100.0))
        .or_else(|| amount(value).filter(|amount| *amount > 0.0).map(Growth::Amount))
        .ok_or_else(|| {
            let needed = "more than 0: a percentage such as `20%`, a number, or a size";
            (place, wanted("`below`", needed, value))
        })
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
