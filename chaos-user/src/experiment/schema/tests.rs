//! The schema says the same as the parser.

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;
use crate::experiment::Experiment;

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let name = "http://chaos/schema.json";
        compiler.add_resource(name, schema()).unwrap();
        let index = compiler.compile(name, &mut schemas).unwrap();
        Self(schemas, index)
    }

    fn accepts(&self, document: &Value) -> Result<(), String> {
        self.0.validate(document, self.1).map_err(|error| error.to_string())
    }
}

fn documents(folder: &str) -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.file_stem().is_some_and(|name| name != "lab")
            && path.extension().is_some_and(|ending| ending == "yaml" || ending == "json")
    });
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        // Labs and the like beside experiments are none.
        Experiment::parse(&text, &path).ok().map(|read| (path, read.source))
    };
    files.into_iter().filter_map(read).collect()
}

#[test]
fn every_experiment_fits() {
    let validator = Validator::new();
    let mut count = 0;
    for folder in ["../experiments", "tests/experiments", "tests/toolkit"] {
        let found = documents(folder);
        assert!(!found.is_empty(), "{folder}");
        for (path, document) in found {
            count += 1;
            validator.accepts(&document).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        }
    }
    assert!(count >= 20, "{count}");
}

/// Puts a key that nothing knows into each map below `at`, one at a time.
fn spoilt(document: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                all.push(at.to_owned());
                for (key, inner) in map {
                    places(inner, &format!("{at}/{key}"), all);
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    places(inner, &format!("{at}/{index}"), all);
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    places(document, "", &mut all);
    all.into_iter()
        .map(|place| {
            let mut spoilt = document.clone();
            let map = spoilt.pointer_mut(&place).and_then(Value::as_object_mut).unwrap();
            map.insert("unknwon".into(), json!("x"));
            (place, spoilt)
        })
        .collect()
}

#[test]
fn unknown_keys_are_refused_by_both_or_by_none() {
    let validator = Validator::new();
    let (mut both, mut none) = (0, 0);
    for (path, document) in
        documents("../experiments").into_iter().chain(documents("tests/toolkit"))
    {
        for (place, spoilt) in spoilt(&document) {
            let parsed = Experiment::parse(&spoilt.to_string(), &path).is_ok();
            let fits = validator.accepts(&spoilt);
            let file = path.display();
            assert_eq!(parsed, fits.is_ok(), "{file}, at `{place}`: {fits:?}");
            if parsed { none += 1 } else { both += 1 }
        }
    }
    // Free-form maps, such as headers, take any key.
    assert!(both > 100 && none > 5, "{both} {none}");
}

#[test]
fn mistakes_that_the_parser_refuses_do_not_fit() {
    let validator = Validator::new();
    let cut = json!({"title": "t", "lab": "l", "method": [{"name": "cut", "type": "action",
        "provider": {"type": "chaos", "fault": "partition", "between": ["a", "b"], "duration": "1s"}}]});
    let changed = |pointer: &str, value: Value| {
        let mut document = cut.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value;
        let parsed = Experiment::parse(&document.to_string(), Path::new("e"));
        (parsed.is_ok(), validator.accepts(&document).is_ok())
    };
    assert_eq!(changed("/title", json!("u")), (true, true));
    for (pointer, value) in [
        ("/method/0/provider/fault", json!("partion")),
        ("/method/0/provider/type", json!("python")),
        ("/method/0/provider/url", json!("http://x")),
        ("/method/0/type", json!("activity")),
        ("/method/0/provider/devices", json!(["lo"])),
        ("/method", json!(null)),
        ("/runtime", json!({"rollbacks": {"strategy": "sometimes"}})),
        (
            "/invariants",
            json!([{"name": "i", "tolerance": {"type": "regexp"},
            "provider": {"type": "tcp", "host": "h", "port": 1}}]),
        ),
        (
            "/invariants",
            json!([{"name": "i", "tolerance": 1,
            "provider": {"type": "tcp", "host": "h", "port": 65536}}]),
        ),
    ] {
        assert_eq!(changed(pointer, value), (false, false), "{pointer}");
    }
}

#[test]
fn every_provider_and_fault_says_which_keys_it_takes() {
    let schema = schema();
    let definitions = &schema["$defs"];
    let count = |pointer: &str| definitions.pointer(pointer).unwrap().as_array().unwrap().len();
    let types = count("/provider/properties/type/enum");
    let faults = count("/provider/properties/fault/enum");
    assert!(types >= 4 && faults >= 7, "{types} {faults}");
    // `chaos` has a rule per fault instead of its own.
    assert_eq!(count("/provider/allOf"), types - 1 + faults);
    assert_eq!(count("/tolerance/allOf"), count("/tolerance/properties/type/enum"));
    assert_eq!(definitions["experiment"]["required"], json!(["title", "method"]));
}
