//! What a probe's outcome has to be.

use std::fmt;

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::activity::Activity;
use super::bounds::{Bounds, Growth};
use super::operations::Operations;
use super::redact::Redactor;
use super::units::{Percent, Span};

/// The key of an output under which the first output of the run is, for [`Tolerance::Growth`].
pub const FIRST: &str = "first";

/// What a probe saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What came back: for http `{status, headers, body}`, for process `{status, stdout, stderr}`.
    pub output: Value,
    /// Why nothing came back.
    pub error: Option<String>,
    /// How long it took, in nanoseconds.
    pub took: u64,
}

impl Observation {
    /// The same without secrets, to be shown or written down, but not to be judged any more.
    #[must_use]
    pub fn hidden(self, redactor: &Redactor) -> Self {
        let Self { output, error, took } = self;
        Self {
            output: redactor.value(&output),
            error: error.map(|error| redactor.text(&error)),
            took,
        }
    }
}

/// What a probe's outcome has to be.
#[derive(Debug, Clone)]
pub enum Tolerance {
    /// What another probe, given it as the argument `value`, says about it: something has to come back,
    /// or what its own tolerance wants. Whoever runs probes has to ask it.
    Probe(Box<Activity>),
    /// This value; for outputs with a `status`, a number means that.
    Equals(Value),
    /// One of these; two numbers are bounds, unless the output has a `status`.
    OneOf(Vec<Value>),
    /// A text that the pattern occurs in.
    Regex {
        /// The pattern.
        pattern: Regex,
        /// Which part of the output; the whole if not given.
        target: Option<String>,
    },
    /// Values that a path finds.
    JsonPath {
        /// As written.
        text: String,
        /// The path, as RFC 9535 defines it.
        path: JsonPath,
        /// Which part of the output; the whole if not given.
        target: Option<String>,
        /// How many values there have to be; at least one if not given.
        count: Option<usize>,
        /// What they have to be.
        expect: Option<Value>,
        /// What each of them, a number, has to keep to.
        bounds: Bounds,
    },
    /// A number between bounds, both included.
    Range {
        /// The lower.
        low: f64,
        /// The upper.
        high: f64,
        /// Which part of the output; the whole if not given.
        target: Option<String>,
    },
    /// A number within limits.
    Number {
        /// The limits.
        bounds: Bounds,
        /// Which part of the output; the whole if not given.
        target: Option<String>,
    },
    /// A list with so many items, or a text with so many lines.
    Count {
        /// How many.
        bounds: Bounds,
        /// Which part of the output; the whole if not given.
        target: Option<String>,
    },
    /// A number that grew by less than this since the first look of the run.
    Growth {
        /// How much.
        below: Growth,
        /// Which part of the output.
        target: String,
    },
    /// Not every look has to be so, only this share of those in a phase.
    Percentile {
        /// The share.
        share: Percent,
        /// What they have to be.
        of: Box<Tolerance>,
    },
    /// Nothing must come back: the probe fails or runs out of time.
    Fails,
    /// It must come back sooner than this.
    Latency(Span),
    /// The operations of a workload have to come to this.
    Operations(Box<Operations>),
    /// All of these.
    All(Vec<Tolerance>),
}

impl PartialEq for Tolerance {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Tolerance {
    /// Whether the outcome is as it has to be.
    pub fn accepts(&self, seen: &Observation) -> bool {
        if let Self::All(parts) = self {
            return parts.iter().all(|part| part.accepts(seen));
        }
        if let Self::Percentile { of, .. } = self {
            return of.accepts(seen);
        }
        if *self == Self::Fails {
            return seen.error.is_some();
        }
        if seen.error.is_some() {
            return false;
        }
        let output = &seen.output;
        let status = output.get("status");
        match self {
            Self::Equals(wanted) => match (wanted, status) {
                (Value::Number(_), Some(status)) => same(status, wanted),
                _ => same(output, wanted),
            },
            Self::OneOf(wanted) => match (status, wanted.as_slice()) {
                (Some(status), _) => wanted.iter().any(|one| same(status, one)),
                (None, [Value::Number(low), Value::Number(high)]) => {
                    let bounds = (low.as_f64(), high.as_f64(), output.as_f64());
                    matches!(bounds, (Some(low), Some(high), Some(v)) if low <= v && v <= high)
                }
                _ => wanted.iter().any(|one| same(output, one)),
            },
            Self::Regex { pattern, target } => match part(output, target.as_deref()) {
                Value::String(text) => pattern.is_match(text),
                other => pattern.is_match(&other.to_string()),
            },
            Self::JsonPath { path, target, count, expect, bounds, .. } => {
                let part = part(output, target.as_deref());
                let parsed = part.as_str().and_then(|text| serde_json::from_str(text).ok());
                let found = path.query(parsed.as_ref().unwrap_or(part)).all();
                if !bounds.is_empty()
                    && !found.iter().all(|one| number(one).is_some_and(|n| bounds.accept(n)))
                {
                    return false;
                }
                let enough = count.map_or(!found.is_empty(), |count| found.len() == count);
                match expect {
                    Some(Value::Array(wanted)) => {
                        found.len() == wanted.len()
                            && found.iter().zip(wanted).all(|(a, b)| same(a, b))
                    }
                    Some(wanted) => matches!(found.as_slice(), [only] if same(only, wanted)),
                    None => enough,
                }
            }
            Self::Range { low, high, target } => {
                let number = number(part(output, target.as_deref()));
                number.is_some_and(|number| *low <= number && number <= *high)
            }
            Self::Number { bounds, target } => {
                number(part(output, target.as_deref())).is_some_and(|n| bounds.accept(n))
            }
            Self::Count { bounds, target } => {
                let count = match part(output, target.as_deref()) {
                    Value::Array(items) => items.len(),
                    Value::Object(map) => map.len(),
                    Value::String(text) => text.lines().count(),
                    _ => return false,
                };
                bounds.accept(count as f64)
            }
            Self::Growth { below, target } => {
                let first = output.get(FIRST).and_then(|first| first.get(target));
                match (first.and_then(number), output.get(target).and_then(number)) {
                    (Some(first), Some(now)) => below.accepts(first, now),
                    _ => false,
                }
            }
            Self::Operations(operations) => operations.accepts(output),
            Self::Latency(below) => seen.took < below.nanos(),
            Self::Fails | Self::All(_) | Self::Percentile { .. } | Self::Probe(_) => false,
        }
    }

    /// Whether it compares with the first look of the run.
    pub fn needs_first(&self) -> bool {
        match self {
            Self::Growth { .. } => true,
            Self::All(parts) => parts.iter().any(Self::needs_first),
            Self::Percentile { of, .. } => of.needs_first(),
            _ => false,
        }
    }

    /// The share of looks in a phase that has to be so.
    pub fn share(&self) -> Option<Percent> {
        match self {
            Self::Percentile { share, .. } => Some(*share),
            _ => None,
        }
    }

    /// What was seen, in one line. It is cut, so secrets are hidden before: [`Observation::hidden`].
    pub fn describe_seen(seen: &Observation) -> String {
        if let Some(error) = &seen.error {
            return error.clone();
        }
        if let Some(summary) = seen.output.get("summary").and_then(Value::as_str) {
            return summary.to_owned();
        }
        let mut text = match &seen.output {
            Value::Object(map) => {
                let status = map.get("status").map(|status| format!("status {status}"));
                let body = map.get("body").or_else(|| map.get("stdout")).map(|body| match body {
                    Value::String(text) => text.trim().to_owned(),
                    other => other.to_string(),
                });
                let parts = [status, body.filter(|body| !body.is_empty())];
                let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
                if text.is_empty() { seen.output.to_string() } else { text }
            }
            other => other.to_string(),
        };
        // A line in reports, whatever came back.
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, " ");
            text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if text.chars().count() > 160 {
            text = text.chars().take(159).chain(['…']).collect();
        }
        format!("{text} after {:.1} ms", seen.took as f64 / 1e6)
    }
}

/// Equality that does not tell 1 from 1.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits() || one == other,
        _ => one == other,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    }
}

fn part<'a>(output: &'a Value, target: Option<&str>) -> &'a Value {
    target.and_then(|key| output.get(key)).unwrap_or(output)
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |target: &Option<String>| {
            target.as_ref().map_or_else(String::new, |target| format!("{target} "))
        };
        match self {
            Self::Equals(value) => write!(f, "{value}"),
            Self::OneOf(values) => {
                write!(f, "one of {}", Value::Array(values.clone()))
            }
            Self::Regex { pattern, target } => write!(f, "{}matching /{pattern}/", of(target)),
            Self::JsonPath { text, target, count, expect, bounds, .. } => {
                write!(f, "{}{text}", of(target))?;
                if let Some(count) = count {
                    write!(f, " found {count} times")?;
                }
                if !bounds.is_empty() {
                    write!(f, " {bounds}")?;
                }
                expect.as_ref().map_or(Ok(()), |expect| write!(f, " = {expect}"))
            }
            Self::Range { low, high, target } => write!(f, "{}from {low} to {high}", of(target)),
            Self::Number { bounds, target } => write!(f, "{}{bounds}", of(target)),
            Self::Count { bounds, target } => {
                write!(f, "{}count {bounds}", of(target))
            }
            Self::Growth { below, target } => {
                write!(f, "{target} grown by less than {below}")
            }
            Self::Percentile { share, of } => write!(f, "in {share} of looks {of}"),
            Self::Fails => f.write_str("no answer"),
            Self::Probe(probe) => {
                write!(f, "what the probe `{}` accepts", probe.name)?;
                probe.tolerance.as_ref().map_or(Ok(()), |tolerance| write!(f, " ({tolerance})"))
            }
            Self::Operations(operations) => operations.fmt(f),
            Self::Latency(below) => write!(f, "an answer in less than {below}"),
            Self::All(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if at == 0 { "" } else { " and " })?;
                }
                Ok(())
            }
        }
    }
}
