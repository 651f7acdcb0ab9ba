//! Closed lists, as the parser tells them when it is given something that is not in them.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::experiment::Experiment;
use crate::experiment::error::Problem;

/// A word that is in no list.
const WRONG: &str = "?";
/// A key that only providers have which are refused.
const FOREIGN: &str = "func";

/// Adds what the parser says to definitions that were made from its types.
pub(super) fn add(definitions: &mut Map<String, Value>) {
    require(definitions);
    let kinds = listed(&with_activity(&json!({"name": "a", "type": WRONG})));
    set(definitions, "activity", "type", json!({"enum": kinds}));
    let phases = listed(&json!({"title": "t", "method": [], "steady-state-hypothesis": {
        "title": "t", "probes": [{"name": "a", "during": WRONG, "tolerance": 0,
            "provider": {"type": "process", "path": "p"}}]}}));
    let phase = json!({"enum": phases});
    let during = json!({"anyOf": [phase, {"type": "array", "items": phase, "minItems": 1}]});
    set(definitions, "activity", "during", during);
    let strategy = |of: &str| {
        listed(&json!({"title": "t", "method": [], "runtime": {of: {"strategy": WRONG}}}))
    };
    let mut strategies = strategy("hypothesis");
    strategies.extend(strategy("rollbacks").into_iter().filter(|one| one != "default"));
    set(definitions, "strategy", "strategy", json!({"enum": strategies}));
    providers(definitions);
    tolerances(definitions);
}

/// Keys without which there is no experiment.
fn require(definitions: &mut Map<String, Value>) {
    let documents = [json!({}), json!({"title": "t"})];
    let required: Vec<&str> = documents
        .iter()
        .filter_map(|document| match answer(document) {
            Some(Problem::Missing { key, .. }) => Some(key),
            _ => None,
        })
        .collect();
    if let Some(experiment) = definitions.get_mut("experiment") {
        for key in &required {
            if let Some(Value::Array(kinds)) = experiment["properties"][*key].get_mut("type") {
                kinds.retain(|kind| kind != "null");
            }
        }
        experiment["required"] = json!(required);
    }
}

fn providers(definitions: &mut Map<String, Value>) {
    let ask = |provider: Value| {
        with_activity(&json!({"name": "a", "type": "action", "provider": provider}))
    };
    let refused =
        |kind: &String| matches!(answer(&ask(json!({"type": kind}))), Some(Problem::Python { .. }));
    let mut types = listed(&ask(json!({"type": WRONG})));
    types.retain(|kind| !refused(kind));
    let faults = listed(&ask(json!({"type": "chaos", "fault": WRONG})));
    set(definitions, "provider", "type", json!({"enum": types}));
    set(definitions, "provider", "fault", json!({"enum": faults}));
    let mut all: Vec<Value> = types.iter().map(|kind| json!({"type": kind})).collect();
    all.retain(|one| one["type"] != "chaos");
    all.extend(faults.iter().map(|fault| json!({"type": "chaos", "fault": fault})));
    let mut rules = Vec::new();
    for chosen in all {
        let mut wrong = chosen.clone();
        wrong[FOREIGN] = json!("f");
        let Some(Problem::Misplaced { known, .. }) = answer(&ask(wrong)) else { continue };
        let known: Vec<&str> = known.split(", ").collect();
        rules.push(rule(&chosen, &known));
    }
    if let Some(provider) = definitions.get_mut("provider") {
        provider["required"] = json!(["type"]);
        provider["allOf"] = Value::Array(rules);
    }
}

fn tolerances(definitions: &mut Map<String, Value>) {
    let ask = |tolerance: Value| {
        with_activity(&json!({"name": "a", "type": "probe", "tolerance": tolerance,
            "provider": {"type": "process", "path": "p"}}))
    };
    let types = listed(&ask(json!({"type": WRONG})));
    let mut rules = Vec::new();
    for kind in &types {
        let answer = answer(&ask(json!({"type": kind, WRONG: 1})));
        if let Some(Problem::UnknownKey { known, .. }) = answer {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            rules.push(rule(&json!({"type": kind}), &known));
        }
    }
    let reference = json!({"$ref": "#/$defs/tolerance"});
    let plain = json!({"type": ["boolean", "number", "string"]});
    let one = json!({"anyOf": [plain, {"type": "array"}, reference]});
    // Tolerances that are made of others.
    let of = json!({"anyOf": [plain, {"type": "array", "items": one}, reference]});
    let tolerance = json!({"type": "object", "required": ["type"],
        "properties": {"type": {"enum": types}, "of": of}, "allOf": rules});
    definitions.insert("tolerance".into(), tolerance);
    let either = one;
    set(definitions, "step", "tolerance", either.clone());
    let path = json!({"type": "string", "pattern": "^\\s*\\$"});
    set(definitions, "step", "save", json!({"type": "object", "additionalProperties": path}));
    // A probe that judges, which only probes and actions may have.
    let judge = json!({"$ref": "#/$defs/activity", "required": ["type", "name", "provider"],
        "properties": {"type": {"const": "probe"}},
        "not": {"anyOf": [{"required": ["from"]}, {"required": ["ref"]}]}});
    set(definitions, "activity", "tolerance", json!({"anyOf": [either, judge]}));
}

/// Where these values are chosen, no keys but these may be.
fn rule(chosen: &Value, known: &[&str]) -> Value {
    let chosen = chosen.as_object().into_iter().flatten();
    let (mut when, mut required) = (Map::new(), Vec::new());
    for (key, value) in chosen {
        when.insert(key.clone(), json!({"const": value}));
        required.push(key.clone());
    }
    let mut names: Vec<&str> = known.to_vec();
    if !names.contains(&"type") {
        names.insert(0, "type");
    }
    json!({"if": {"properties": when, "required": required},
        "then": {"propertyNames": {"enum": names}}})
}

fn set(definitions: &mut Map<String, Value>, of: &str, key: &str, schema: Value) {
    if let Some(Value::Object(properties)) =
        definitions.get_mut(of).and_then(|one| one.get_mut("properties"))
    {
        properties.insert(key.to_owned(), schema);
    }
}

fn with_activity(activity: &Value) -> Value {
    json!({"title": "t", "lab": "l", "method": [activity]})
}

/// The words that would have been right.
fn listed(document: &Value) -> Vec<String> {
    match answer(document) {
        Some(Problem::UnknownWord { known, .. }) => {
            known.split(", ").map(ToOwned::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// What the parser has against a document.
fn answer(document: &Value) -> Option<Problem> {
    let refused = Experiment::parse(&document.to_string(), Path::new("")).err();
    refused.map(|error| *error.problem)
}
