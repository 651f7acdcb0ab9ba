//! What all operations of a workload came to. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::operation::{Operation, State};
use super::watch::Use;

/// The longest time that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// What all operations of a workload came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Operations begun and sent.
    pub sent: u64,
    /// Operations that were due and never sent, because too many were waiting for their answers.
    pub unsent: u64,
    /// Those that were done.
    pub ok: u64,
    /// Those that certainly were not, with those that were never sent.
    pub fail: u64,
    /// Those that may have been.
    pub info: u64,
    /// How many were under way at the same time.
    pub together: u64,
    /// How often each status came.
    pub statuses: BTreeMap<u16, u64>,
    /// Those done by the users of each group.
    pub ok_by_group: Vec<u64>,
    /// What those that were not done were told, and how often.
    pub notes: BTreeMap<String, u64>,
    latencies: Option<Histogram<u64>>,
}

impl Summary {
    /// From the events of all operations; `users` are in a group, of `groups`.
    pub fn of(operations: &[Operation], groups: u32, users: u32) -> Self {
        let mut summary = Self {
            sent: 0,
            unsent: 0,
            ok: 0,
            fail: 0,
            info: 0,
            together: 0,
            statuses: BTreeMap::new(),
            ok_by_group: vec![0; groups.max(1) as usize],
            notes: BTreeMap::new(),
            latencies: Histogram::new_with_bounds(1, LONGEST, 3).ok(),
        };
        let mut begun: BTreeMap<u32, u64> = BTreeMap::new();
        for operation in operations {
            if operation.unsent {
                // It took no time, which is not how long it would have taken.
                if operation.state != State::Invoke {
                    summary.unsent += 1;
                    summary.fail += 1;
                    summary.note(operation);
                }
                continue;
            }
            if operation.state == State::Invoke {
                summary.sent += 1;
                begun.insert(operation.number, operation.at);
                summary.together = summary.together.max(begun.len() as u64);
                continue;
            }
            let began = begun.remove(&operation.number).unwrap_or(operation.at);
            let took = operation.at.saturating_sub(began) / 1000;
            if let Some(latencies) = &mut summary.latencies {
                latencies.saturating_record(took.clamp(1, LONGEST));
            }
            match operation.state {
                State::Ok => {
                    summary.ok += 1;
                    let group = operation.client / users.max(1);
                    if let Some(ok) = summary.ok_by_group.get_mut(group as usize) {
                        *ok += 1;
                    }
                }
                State::Fail => summary.fail += 1,
                State::Info | State::Invoke => summary.info += 1,
            }
            if let Some(status) = operation.status {
                *summary.statuses.entry(status).or_default() += 1;
            }
            summary.note(operation);
        }
        summary
    }

    fn note(&mut self, operation: &Operation) {
        if let Some(note) = &operation.note {
            *self.notes.entry(note.clone()).or_default() += 1;
        }
    }

    /// Operations that were due.
    const fn due(&self) -> u64 {
        self.sent.saturating_add(self.unsent)
    }

    /// A latency that this share of all operations that were sent did not exceed, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        let value = self.latencies.as_ref().map_or(0, |all| all.value_at_quantile(quantile));
        value as f64 / 1000.0
    }

    fn longest_ms(&self) -> f64 {
        self.latencies.as_ref().map_or(0, Histogram::max) as f64 / 1000.0
    }

    /// As the output of the workload: what its tolerance looks at.
    pub fn output(&self, broken: &[String], used: Option<Use>) -> Value {
        let statuses: serde_json::Map<String, Value> =
            self.statuses.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        let notes: serde_json::Map<String, Value> =
            self.notes.iter().take(20).map(|(note, n)| (note.clone(), json!(n))).collect();
        let share = if self.due() == 0 { 0.0 } else { self.ok as f64 / self.due() as f64 };
        let mut output = json!({
            "summary": self.words(broken, used),
            "sent": self.sent,
            "unsent": self.unsent,
            "ok": self.ok,
            "fail": self.fail,
            "info": self.info,
            "ok_share": share,
            "together": self.together,
            "ok_by_group": self.ok_by_group,
            "statuses": statuses,
            "notes": notes,
            "latency": {
                "p50_ms": self.latency_ms(0.5),
                "p95_ms": self.latency_ms(0.95),
                "p99_ms": self.latency_ms(0.99),
                "max_ms": self.longest_ms(),
            },
            "broken": broken,
        });
        if let (Some(used), Some(fields)) = (used, output.as_object_mut()) {
            fields.insert("memory".into(), json!({ "peak": used.peak, "left": used.left }));
        }
        output
    }

    fn words(&self, broken: &[String], used: Option<Use>) -> String {
        let mut text = String::new();
        for what in broken {
            let _ = write!(text, "{what}; ");
        }
        let _ = write!(
            text,
            "{} sent, {} at once: {} ok, {} failed, {} unknown",
            self.sent, self.together, self.ok, self.fail, self.info,
        );
        if self.unsent > 0 {
            let _ = write!(text, ", {} never sent because too many waited", self.unsent);
        }
        if let (Some(least), Some(most)) =
            (self.ok_by_group.iter().min(), self.ok_by_group.iter().max())
            && self.ok_by_group.len() > 1
        {
            let _ = write!(text, ", {least} to {most} ok per group");
        }
        let mut statuses = self.statuses.iter().peekable();
        if statuses.peek().is_some() {
            let all: Vec<String> = statuses.map(|(code, n)| format!("{n} × {code}")).collect();
            let _ = write!(text, "; statuses {}", all.join(", "));
        }
        let _ = write!(
            text,
            "; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            self.latency_ms(0.5),
            self.latency_ms(0.99),
            self.longest_ms(),
        );
        if let Some(used) = used {
            let _ =
                write!(text, "; memory +{} KiB, left +{} KiB", used.peak >> 10, used.left >> 10);
        }
        if let Some((note, count)) = self.notes.iter().max_by_key(|(_, count)| **count) {
            let _ = write!(text, "; {count} times “{note}”");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32, state: State, ms: u64) -> Operation {
        let status = (state == State::Ok).then_some(200);
        let (client, at, step) = (number, ms * 1_000_000, "buy".to_owned());
        Operation {
            number,
            client,
            step,
            state,
            at,
            status,
            payload: None,
            unsent: false,
            note: None,
        }
    }

    #[test]
    fn what_was_never_sent_is_counted_and_takes_no_time() {
        let unsent = |number, state, ms| {
            let note = (state == State::Fail).then(|| "not sent".to_owned());
            Operation { unsent: true, note, ..event(number, state, ms) }
        };
        // Two answers after a second, and eight that were never asked for.
        let mut operations = vec![event(0, State::Invoke, 0), event(1, State::Invoke, 0)];
        for number in 2..10 {
            operations.extend([unsent(number, State::Invoke, 5), unsent(number, State::Fail, 5)]);
        }
        operations.extend([event(0, State::Ok, 1000), event(1, State::Info, 1000)]);
        let summary = Summary::of(&operations, 1, u32::MAX);
        assert_eq!((summary.sent, summary.unsent, summary.together), (2, 8, 2));
        assert_eq!((summary.ok, summary.fail, summary.info), (1, 8, 1));
        assert_eq!(summary.notes, BTreeMap::from([("not sent".to_owned(), 8)]));
        assert!((summary.latency_ms(0.01) - 1000.0).abs() < 1.0, "{summary:?}");
        let output = summary.output(&[], None);
        assert_eq!((&output["unsent"], &output["ok_share"]), (&json!(8), &json!(0.1)));
        let told =
            "2 sent, 2 at once: 1 ok, 8 failed, 1 unknown, 8 never sent because too many waited";
        assert!(output["summary"].as_str().unwrap().starts_with(told), "{output}");
    }

    #[test]
    fn counts_what_happened_and_how_much_at_once() {
        let operations = [
            event(0, State::Invoke, 0),
            event(1, State::Invoke, 1),
            event(0, State::Ok, 11),
            event(2, State::Invoke, 12),
            event(2, State::Fail, 13),
            event(1, State::Info, 31),
            event(3, State::Invoke, 32),
        ];
        let summary = Summary::of(&operations, 2, 2);
        assert_eq!((summary.sent, summary.together), (4, 2));
        assert_eq!((summary.ok, summary.fail, summary.info), (1, 1, 1));
        assert_eq!(summary.ok_by_group, [1, 0]);
        assert_eq!(summary.statuses, BTreeMap::from([(200, 1)]));
        assert!((summary.latency_ms(0.5) - 11.0).abs() < 0.1, "{summary:?}");
        let output = summary.output(&["`x`: no".into()], None);
        assert_eq!(output["latency"]["max_ms"].as_f64().map(f64::round), Some(30.0));
        assert!(output["summary"].as_str().unwrap().starts_with("`x`: no; 4 sent"), "{output}");
    }
}
