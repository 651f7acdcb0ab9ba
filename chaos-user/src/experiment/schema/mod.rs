//! A JSON Schema of experiment files, for editors.
//!
//! Nothing is written down twice. Keys and kinds of values come from the very types that a file is
//! read into ([`trace`] reads each of them from nothing and notes what it asks for); closed lists of
//! words, and which keys belong to which provider, fault or tolerance, come from what the parser
//! answers to a wrong one ([`words`]).

mod trace;
mod words;

use serde_json::{Map, Value, json};

use super::document::ExperimentDocument;

/// The schema, in the dialect of 2020-12.
pub fn schema() -> Value {
    let (root, mut definitions) = trace::schema_of::<ExperimentDocument>();
    words::add(&mut definitions);
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("A chaos experiment"));
    schema.insert("$ref".into(), root["$ref"].clone());
    schema.insert("$defs".into(), Value::Object(definitions));
    Value::Object(schema)
}

#[cfg(test)]
mod tests;
