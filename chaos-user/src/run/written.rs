//! What of an activity and of its outcome is written down.

use serde_json::Value;

use crate::experiment::Experiment;

/// The most of one text of a probe's output that is kept when it runs again and again.
const KEEP: usize = 4096;

/// An output whose texts are cut to what is worth keeping.
pub(super) fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > KEEP => {
            text.chars().take(KEEP).chain(['…']).collect::<String>().into()
        }
        Value::Object(map) => map.into_iter().map(|(key, item)| (key, shortened(item))).collect(),
        Value::Array(items) => items.into_iter().map(shortened).collect(),
        other => other,
    }
}

/// An activity as it stands in the file.
pub(super) fn written(experiment: &Experiment, name: &str) -> Value {
    let source = &experiment.source;
    let lists = [
        source.pointer("/steady-state-hypothesis/probes"),
        source.get("method"),
        source.get("rollbacks"),
        source.get("invariants"),
        source.pointer("/recovery/steps"),
    ];
    let all = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let all = all.flat_map(|one| match one.get("parallel") {
        Some(Value::Array(members)) => members.as_slice(),
        _ => std::slice::from_ref(one),
    });
    let named = |one: &&Value| one.get("name").and_then(Value::as_str) == Some(name);
    all.into_iter().find(named).cloned().unwrap_or(Value::Null)
}
