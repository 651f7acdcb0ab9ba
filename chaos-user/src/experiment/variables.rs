//! `${name}` in an experiment, replaced as the Chaos Toolkit does.

use indexmap::IndexMap;
use serde_json::Value;

use super::redact::Redactor;

/// The values that `${name}` stands for: the configuration first, then all secrets.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: IndexMap<String, Value>,
    redactor: Redactor,
}

impl Variables {
    /// From resolved configuration and secrets; the first of a name wins.
    pub fn new(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut map = IndexMap::new();
        for (name, value) in values {
            map.entry(name).or_insert(value);
        }
        Self { values: map, redactor: Redactor::default() }
    }

    /// The same, and this hides those of them that are secret.
    #[must_use]
    pub fn hiding(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    /// What keeps secrets out of what is written. Whatever is to be cut goes through it first: half
    /// a secret is not recognised any more.
    pub const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// With more values; those that are there already stay.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = (String, Value)>) -> Self {
        let Self { values, redactor } = self;
        Self::new(values.into_iter().chain(more)).hiding(redactor)
    }

    /// With more of them, which come first.
    #[must_use]
    pub fn preferring(&self, values: impl IntoIterator<Item = (String, Value)>) -> Self {
        let known = self.values.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self::new(values.into_iter().chain(known)).hiding(self.redactor.clone())
    }

    /// Replaces every `${name}` and `$name` that is known, in every text inside `value`; `$$` is a
    /// dollar sign. A text that is one reference takes the type of what it refers to.
    pub fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill_typed(text),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, item)| (key.clone(), self.fill(item))).collect()
            }
            other => other.clone(),
        }
    }

    /// The same for a text that has to stay one.
    pub fn fill_text(&self, text: &str) -> String {
        as_text(&self.fill_typed(text))
    }

    fn fill_typed(&self, text: &str) -> Value {
        let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(value) = whole.and_then(|name| self.values.get(name)) {
            return value.clone();
        }
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                filled.push('$');
                rest = after;
                continue;
            }
            let (name, after) = reference(rest);
            if let Some(value) = self.values.get(name) {
                filled.push_str(&as_text(value));
                rest = after;
            } else {
                filled.push('$');
            }
        }
        filled.push_str(rest);
        Value::String(filled)
    }
}

/// The name that follows a dollar sign, and what follows the name.
fn reference(rest: &str) -> (&str, &str) {
    rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).unwrap_or_else(|| {
        let ends = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        rest.split_at(rest.find(ends).unwrap_or(rest.len()))
    })
}

/// All names that a text refers to, whether or not they are known.
pub(super) fn references(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        match rest.strip_prefix('$') {
            Some(after) => rest = after,
            None => names.push(reference(rest).0),
        }
    }
    names
}

/// What filling turns into `value` itself, whatever texts are in it.
pub(super) fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('$', "$$").into(),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(map) => map.iter().map(|(key, item)| (key.clone(), literal(item))).collect(),
        other => other.clone(),
    }
}

/// A value as it reads inside a longer text.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => "None".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fills_like_the_toolkit() {
        let known = Variables::new([
            ("port".to_owned(), json!(8080)),
            ("host".to_owned(), json!("server")),
        ]);
        assert_eq!(known.fill(&json!("${port}")), json!(8080));
        assert_eq!(known.fill_text("http://${host}:$port/"), "http://server:8080/");
        assert_eq!(known.fill_text("$$5 ${unknown} $"), "$5 ${unknown} $");
        assert_eq!(known.fill(&json!({"a": ["$host"]})), json!({"a": ["server"]}));
        assert_eq!(references("${a.b}/$$5/$${c}/${d}$e $"), ["a.b", "d", "e", ""]);
    }
}
