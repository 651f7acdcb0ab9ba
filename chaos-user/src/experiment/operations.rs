//! What the operations of a workload have to come to.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::units::Span;

/// A number and the bounds it has to keep, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Within {
    /// The lower.
    pub low: f64,
    /// The upper.
    pub high: f64,
}

impl Within {
    /// Exactly this.
    pub const fn exactly(value: f64) -> Self {
        Self { low: value, high: value }
    }

    fn has(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low.to_bits() == self.high.to_bits() {
            self.low.fmt(f)
        } else if self.high.is_infinite() {
            write!(f, "at least {}", self.low)
        } else {
            write!(f, "{} to {}", self.low, self.high)
        }
    }
}

/// What the operations of a workload have to come to. Whatever is not given is not judged, but what
/// the workload verifies has to hold, and the process that it watches has to stay alive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operations {
    /// Numbers of the summary by their path in it.
    pub counts: BTreeMap<&'static str, Within>,
    /// The operations that succeeded in every single group.
    pub ok_per_group: Option<Within>,
    /// How often each status came.
    pub statuses: Vec<(u16, Within)>,
    /// The only statuses that may come; an operation without an answer has none of them.
    pub only: Option<Vec<u16>>,
    /// Upper bounds on latencies by their path in the summary.
    pub latencies: BTreeMap<&'static str, Span>,
    /// Upper bounds on the memory of the watched process, in bytes, by their path.
    pub memory: BTreeMap<&'static str, u64>,
}

impl Operations {
    /// Whether a summary is as it has to be.
    pub fn accepts(&self, summary: &Value) -> bool {
        let number = |path: &str| summary.pointer(path).and_then(Value::as_f64);
        let within = |path: &str, bounds: &Within| number(path).is_some_and(|n| bounds.has(n));
        let statuses = summary.get("statuses").and_then(Value::as_object);
        let status = |code: u16| {
            let count = statuses.and_then(|all| all.get(&code.to_string()));
            count.and_then(Value::as_f64).unwrap_or(0.0)
        };
        let only = |only: &Vec<u16>| {
            let known = |code: &String| only.iter().any(|one| one.to_string() == *code);
            statuses.is_some_and(|all| all.keys().all(known))
        };
        let per_group = |bounds: &Within| {
            let groups = summary.get("ok_by_group").and_then(Value::as_array);
            groups.is_some_and(|groups| {
                groups.iter().all(|ok| ok.as_f64().is_some_and(|ok| bounds.has(ok)))
            })
        };
        let below = |path: &str, limit: f64| number(path).is_none_or(|n| n <= limit);
        summary.get("broken").and_then(Value::as_array).is_some_and(Vec::is_empty)
            && self.counts.iter().all(|(path, bounds)| within(path, bounds))
            && self.ok_per_group.iter().all(per_group)
            && self.statuses.iter().all(|(code, bounds)| bounds.has(status(*code)))
            && self.only.iter().all(only)
            && self.latencies.iter().all(|(path, limit)| below(path, limit.nanos() as f64 / 1e6))
            && self.memory.iter().all(|(path, limit)| below(path, *limit as f64))
    }
}

/// The last part of a path in the summary, for people.
fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).trim_end_matches("_ms").replace('_', " ")
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.counts.iter().map(|(path, bounds)| format!("{bounds} {}", last(path))));
        parts.extend(self.ok_per_group.map(|bounds| format!("{bounds} ok in each group")));
        parts.extend(self.statuses.iter().map(|(code, n)| format!("status {code}: {n}")));
        parts.extend(self.only.as_ref().map(|only| format!("only statuses {only:?}")));
        let bounds = self.latencies.iter();
        parts.extend(bounds.map(|(path, limit)| format!("{} within {limit}", last(path))));
        let bounds = self.memory.iter();
        parts.extend(
            bounds.map(|(path, limit)| format!("{} at most {} KiB", last(path), limit >> 10)),
        );
        if parts.is_empty() {
            return f.write_str("what is verified afterwards");
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary() -> Value {
        json!({
            "sent": 5, "ok": 1, "fail": 4, "info": 0, "ok_share": 0.2,
            "ok_by_group": [1], "statuses": {"200": 1, "409": 4},
            "latency": {"p50_ms": 3.0, "p99_ms": 9.0, "max_ms": 9.5},
            "memory": {"peak": 1024, "left": 0}, "broken": [],
        })
    }

    #[test]
    fn each_bound_is_judged_by_itself() {
        let with = |change: fn(&mut Operations)| {
            let mut tolerance = Operations::default();
            change(&mut tolerance);
            tolerance.accepts(&summary())
        };
        assert!(with(|_| {}));
        assert!(with(|t| {
            let _ = t.counts.insert("/ok", Within::exactly(1.0));
        }));
        assert!(!with(|t| {
            let _ = t.counts.insert("/ok", Within::exactly(2.0));
        }));
        assert!(!with(|t| t.ok_per_group = Some(Within::exactly(0.0))));
        assert!(with(
            |t| t.statuses = vec![(409, Within::exactly(4.0)), (500, Within::exactly(0.0))]
        ));
        assert!(!with(|t| t.statuses = vec![(409, Within::exactly(3.0))]));
        assert!(with(|t| t.only = Some(vec![200, 409])));
        assert!(!with(|t| t.only = Some(vec![200])));
        assert!(with(|t| {
            let _ = t.latencies.insert("/latency/p99_ms", Span::from_ms(9));
        }));
        assert!(!with(|t| {
            let _ = t.latencies.insert("/latency/max_ms", Span::from_ms(9));
        }));
        assert!(!with(|t| {
            let _ = t.memory.insert("/memory/peak", 1023);
        }));
    }

    #[test]
    fn what_is_verified_counts_always() {
        let mut broken = summary();
        broken["broken"] = json!(["`paid-once`: no"]);
        assert!(!Operations::default().accepts(&broken));
        assert!(!Operations::default().accepts(&json!({})), "nothing was shown");
    }
}
