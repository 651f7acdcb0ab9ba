//! Keeps secrets out of everything that is written.

use serde_json::Value;

/// What stands in place of a secret.
const HIDDEN: &str = "*****";

/// Replaces secrets wherever they occur.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// Hides these texts; empty ones are ignored, longer ones go first.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|s| !s.is_empty()).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// Every text inside the value without secrets.
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, item)| (self.text(key), self.value(item))).collect()
            }
            // A secret that is a number is one in a text, too.
            Value::Number(number) if self.0.contains(&number.to_string()) => HIDDEN.into(),
            other => other.clone(),
        }
    }
}
