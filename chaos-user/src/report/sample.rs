//! Event logs made up for the tests of the reports: always the same, to the byte.

use serde_json::{Value, json};

use crate::run::Event;
use crate::verdict::{Findings, judge};

/// How the made-up system fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// All is well.
    Passed,
    /// It does not answer under the fault, and nothing is said about `<script>`.
    Failed,
    /// The fault hits nothing.
    Inconclusive,
}

/// The events of a run, and what was found.
pub(super) fn run(story: Story) -> (Vec<Event>, Findings) {
    let events: Vec<Event> = serde_json::from_value(Value::Array(lines(story))).unwrap();
    let findings = judge(&events).unwrap();
    (events, findings)
}

fn line(ms: u64, event: &Value) -> Value {
    let wall = format!("2026-01-02T03:04:{:02}.{:03}000Z", 5 + ms / 1000, ms % 1000);
    json!({"at": ms * 1_000_000, "wall": wall, "event": event})
}

fn look(name: &str, role: &str, ms: u64, took: u64, met: bool) -> Value {
    let seen = if met { "status 200, ok" } else { "no answer in time: <img>&\"'" };
    line(
        ms + took,
        &json!({"done": {"name": name, "kind": "probe", "role": role, "began": ms * 1_000_000,
            "began_wall": "2026-01-02T03:04:06.000000Z", "took": took * 1_000_000,
            "output": {"status": 200}, "error": (!met).then_some(seen), "met": met, "seen": seen,
            "activity": null}}),
    )
}

fn lines(story: Story) -> Vec<Value> {
    let spec = |name: &str, steady: bool, during: [bool; 3], detects: bool| {
        json!({"name": name, "steady": steady, "expected": "200", "detects": detects,
            "during": {"before": during[0], "fault": during[1], "after": during[2]},
            "within": detects.then_some("200ms")})
    };
    let failed = story == Story::Failed;
    let mut lines = vec![line(
        0,
        &json!({"began": {"format": 1, "tool": "0.0.0", "name": "sample",
            "title": "A <script>alert(1)</script> & \"more\"", "seed": 7, "host": "here",
            "platform": "Linux 6.1", "probes": [
                spec("server-answers", true, [true, true, true], false),
                spec("is-noticed", true, [false, true, false], true),
                spec("books-balance", false, [true, true, true], false)],
            "faults": 1, "recovery_within": "5s", "recovery_stable": "200ms",
            "frequency": "200ms", "experiment": {"title": "<script>alert(1)</script>"}}}),
    )];
    lines.push(line(1, &json!({"ready": [["server", ["10.0.0.1"]]]})));
    lines.push(look("server-answers", "before", 10, 3, true));
    lines.push(line(
        100,
        &json!({"arming": {"fault": "cut", "lasts": "1s", "activity": null,
            "rules": [{"rule": "cut", "text": "drop every packet"}]}}),
    ));
    lines.push(line(110, &json!({"active": {"fault": "cut"}})));
    for at in 0..4 {
        lines.push(look("server-answers", "during", 120 + at * 200, 5 + at, !failed));
        lines.push(look("is-noticed", "during", 130 + at * 200, 4, at > 0 || failed));
    }
    lines.push(line(
        500,
        &json!({"logged": {"source": "server/shop", "skipped": 0, "lines": [
            {"at": 90_000_000, "text": "listening"}, {"at": 480_000_000, "text": "ERROR | </code> ``` ]]>"}]}}),
    ));
    if story == Story::Passed {
        let operation = |number: u32, state: &str, ms: u64, status: Option<u16>| {
            json!({"number": number, "client": number, "step": "buy", "state": state,
                "at": ms * 1_000_000, "status": status})
        };
        lines.push(line(
            1000,
            &json!({"operations": {"workload": "shoppers", "operations": [
                operation(0, "invoke", 200, None), operation(1, "invoke", 220, None),
                operation(2, "invoke", 230, None), operation(1, "ok", 260, Some(201)),
                operation(0, "fail", 900, Some(503))]}}),
        ));
    }
    lines.push(line(1100, &json!({"healing": {"fault": "cut"}})));
    let acted = if story == Story::Inconclusive { 0 } else { 12 };
    let passed = story == Story::Passed;
    let held_by: &[&str] = if passed { &["netem (chaosn7, steered by htb)"] } else { &[] };
    let delay = json!({"rule": "cut", "packets": 11, "mean_ns": 51_000_000, "p50_ns": 50_000_000,
        "p99_ns": 90_000_000, "least_ns": 50_000_000, "counters": {"dropped": 1}});
    let delays = if passed { json!([delay]) } else { json!([]) };
    lines.push(line(
        1110,
        &json!({"healed": {"fault": "cut", "error": null, "remarks": ["a `qdisc` was busy"],
            "held_by": held_by, "delays": delays,
            "evidence": [{"rule": "cut", "seen": 40, "matched": acted, "acted": acted, "bytes": 60 * acted}]}}),
    ));
    for at in 0..4 {
        lines.push(look("server-answers", "during", 1200 + at * 200, 2, at > 0));
    }
    lines.push(look("server-answers", "after", 2000, 2, true));
    lines.push(look("books-balance", "invariant", 2010, 6, true));
    lines.push(line(2100, &json!({"ended": {"left": [], "rolled_back": true}})));
    lines
}
