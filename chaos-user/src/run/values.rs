//! Configuration and secrets, read from where the experiment says.

use std::env;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::experiment::{Redactor, Variables};

/// What `${name}` stands for, and what must never be shown.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// For filling in; they know which of them are secret.
    pub variables: Variables,
}

/// Why a value could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// A variable that is not set.
    #[error("`{name}` needs the environment variable `{key}`, which is not set and has no default")]
    NotSet {
        /// What needs it.
        name: String,
        /// The variable.
        key: String,
    },
    /// A file that cannot be read.
    #[error("`{name}` needs the file {path}: {source}")]
    File {
        /// What needs it.
        name: String,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// There is too much to hide.
    #[error("{0}")]
    Hide(String),
    /// A source that this tool does not have.
    #[error("`{name}` comes from `{kind}`, which is not supported; use env, file or a value")]
    Kind {
        /// What needs it.
        name: String,
        /// The source.
        kind: String,
    },
}

impl Values {
    /// Reads the configuration and the secrets; files are relative to `base`.
    pub fn resolve(
        configuration: &IndexMap<String, Value>,
        secrets: &IndexMap<String, Value>,
        base: &Path,
    ) -> Result<Self, ValueError> {
        let mut all = Vec::new();
        for (name, value) in configuration {
            all.push((name.clone(), resolve(name, value, base)?.value));
        }
        let (mut hidden, mut written) = (Vec::new(), Vec::new());
        let mut hide = |name: &String, found: Found| {
            written.extend(found.written.map(Value::String));
            hidden.push((name.clone(), found.value));
        };
        for (group, members) in secrets {
            match members {
                // {group: {name: {type: env, …}}}, the usual form.
                Value::Object(map) if !map.contains_key("type") => {
                    for (name, value) in map {
                        hide(name, resolve(name, value, base)?);
                    }
                }
                value => hide(group, resolve(group, value, base)?),
            }
        }
        let redactor = Redactor::new(hidden.iter().map(|(_, value)| value.clone()).chain(written))
            .map_err(ValueError::Hide)?;
        Ok(Self { variables: Variables::new(all.into_iter().chain(hidden)).hiding(redactor) })
    }
}

/// A value, and how it was written if it was read from a text as something else.
struct Found {
    value: Value,
    written: Option<String>,
}

impl From<Value> for Found {
    fn from(value: Value) -> Self {
        Self { value, written: None }
    }
}

fn resolve(name: &str, value: &Value, base: &Path) -> Result<Found, ValueError> {
    let Value::Object(map) = value else { return Ok(value.clone().into()) };
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    match text("type") {
        None => Ok(value.clone().into()),
        Some("env") => {
            let key = text("key").or_else(|| text("name")).unwrap_or(name);
            match (env::var(key), map.get("default")) {
                (Ok(found), _) => Ok(typed(found, map)),
                (Err(_), Some(default)) => Ok(default.clone().into()),
                (Err(_), None) => {
                    Err(ValueError::NotSet { name: name.into(), key: key.to_owned() })
                }
            }
        }
        Some("file") => {
            let path = base.join(text("path").or_else(|| text("key")).unwrap_or(name));
            let read = std::fs::read_to_string(&path).map_err(|source| ValueError::File {
                name: name.into(),
                path: path.display().to_string(),
                source,
            })?;
            Ok(Value::String(read.trim_end_matches('\n').to_owned()).into())
        }
        Some(kind) => Err(ValueError::Kind { name: name.into(), kind: kind.to_owned() }),
    }
}

/// `env_var_type` of the Chaos Toolkit: texts of the environment as other types.
fn typed(found: String, map: &Map<String, Value>) -> Found {
    let parsed: Option<Value> = match map.get("env_var_type").and_then(Value::as_str) {
        Some("int") => found.parse::<i64>().ok().map(Value::from),
        Some("float") => found.parse::<f64>().ok().map(Value::from),
        Some("bool") => Some(Value::from(matches!(found.as_str(), "true" | "True" | "1"))),
        Some("json") => serde_json::from_str(&found).ok(),
        _ => None,
    };
    match parsed {
        None => Value::String(found).into(),
        // `true` is no secret, however it is written.
        Some(value @ Value::Bool(_)) => value.into(),
        Some(value) => Found { value, written: Some(found) },
    }
}
