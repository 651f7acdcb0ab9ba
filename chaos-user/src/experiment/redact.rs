//! Keeps secrets out of everything that is written.

use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use super::secret_forms::{Form, forms};

/// What stands in place of a secret.
const HIDDEN: &str = "*****";

/// Replaces secrets wherever they occur, also where they are encoded.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Vec<Form>,
    finder: Option<AhoCorasick>,
}

impl fmt::Debug for Redactor {
    /// Says nothing of what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides these values: a text as a whole, and the members of data, in every form that
    /// [`forms`] knows.
    ///
    /// # Errors
    ///
    /// If there is more to hide than can be searched for.
    pub fn new(secrets: impl IntoIterator<Item = Value>) -> Result<Self, String> {
        let mut all: Vec<Form> = secrets.into_iter().flat_map(|secret| forms(&secret)).collect();
        all.sort_by(|one, other| one.text.cmp(&other.text).then(one.coded.cmp(&other.coded)));
        all.dedup_by(|one, other| one.text == other.text);
        if all.is_empty() {
            return Ok(Self::default());
        }
        // Standard, so that secrets that overlap are all found.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(all.iter().map(|form| &form.text))
            .map_err(|error| format!("the secrets are too large to be hidden: {error}"))?;
        Ok(Self { forms: all, finder: Some(finder) })
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.without(text, text.len())
    }

    /// A text that was cut somewhere: without secrets, and without the beginning of one at its end.
    pub fn cut(&self, text: &str) -> String {
        let begins = |at: &usize| {
            let rest = &text[*at..];
            self.forms.iter().any(|form| form.text.starts_with(rest))
        };
        let longest = self.forms.iter().map(|form| form.text.len()).max().unwrap_or(0);
        let from = text.len().saturating_sub(longest);
        let places = text.char_indices().map(|(at, _)| at).filter(|at| *at >= from);
        let end = places.filter(begins).min().unwrap_or(text.len());
        self.without(text, end)
    }

    /// The text without secrets, and with what is from `end` on hidden too.
    fn without(&self, text: &str, end: usize) -> String {
        let Some(finder) = &self.finder else { return text.to_owned() };
        let mut spans: Vec<(usize, usize)> = finder
            .find_overlapping_iter(text)
            .map(|found| {
                let coded = self.forms.get(found.pattern().as_usize()).is_some_and(|f| f.coded);
                let span = (found.start(), found.end());
                if coded { around(text, span) } else { span }
            })
            .collect();
        if end < text.len() {
            spans.push((end, text.len()));
        }
        if spans.is_empty() {
            return text.to_owned();
        }
        spans.sort_unstable();
        let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
        for (begin, end) in spans {
            if begin >= at {
                shown.push_str(&text[at..begin]);
                shown.push_str(HIDDEN);
            }
            at = at.max(end);
        }
        shown.push_str(&text[at..]);
        shown
    }

    /// Every text inside the value without secrets, keys included.
    pub fn value(&self, value: &Value) -> Value {
        match value {
            _ if self.finder.is_none() => value.clone(),
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, item)| (self.text(key), self.value(item))).collect()
            }
            // A secret that is a number is one in a text, too.
            Value::Number(number) if self.text(&number.to_string()) == HIDDEN => HIDDEN.into(),
            other => other.clone(),
        }
    }

    /// The same for a part of an experiment's file. The keys that the format gives stay, so that it
    /// can still be read; those that are the author's own do not.
    pub fn document(&self, value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.document(item)).collect(),
            Value::Object(map) => {
                let hide = |(key, item): (&String, &Value)| {
                    let own = OWN_KEYS.contains(&key.as_str());
                    (key.clone(), if own { self.value(item) } else { self.document(item) })
                };
                map.iter().map(hide).collect()
            }
            other => self.value(other),
        }
    }
}

/// Keys of the format under which the author's own keys are.
const OWN_KEYS: [&str; 14] = [
    "arguments",
    "body",
    "configuration",
    "contributions",
    "expect",
    "extensions",
    "headers",
    "labels",
    "namespaces",
    "save",
    "secrets",
    "statuses",
    "value",
    "vary",
];

/// The whole word of base64 that a part of it was found in: the rest of it tells of the secret too.
fn around(text: &str, (begin, end): (usize, usize)) -> (usize, usize) {
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..begin].iter().rev().take_while(|byte| of_word(byte)).count();
    let after = bytes[end..].iter().take_while(|byte| of_word(byte)).count();
    (begin - before, end + after)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hiding(secrets: &[Value]) -> Redactor {
        Redactor::new(secrets.to_vec()).unwrap()
    }

    #[test]
    fn secrets_that_overlap_are_hidden_whole() {
        let redactor = hiding(&[json!("abcdef"), json!("defghi"), json!("cd")]);
        assert_eq!(redactor.text("<abcdefghi> cd"), "<*****> *****");
        assert_eq!(redactor.text("none here ä"), "none here ä");
        assert_eq!(Redactor::default().text("abcdef"), "abcdef");
    }

    #[test]
    fn what_was_cut_does_not_end_with_the_head_of_a_secret() {
        let redactor = hiding(&[json!("Tr0ub4dor&3")]);
        assert_eq!(redactor.cut("token=Tr0ub4"), "token=*****");
        assert_eq!(redactor.cut("Tr0ub4dor&3, then T"), "*****, then *****");
        assert_eq!(redactor.cut("nothing of it"), "nothing of it");
        assert_eq!(redactor.cut(""), "");
    }

    #[test]
    fn encodings_are_hidden() {
        let secret = "pä ss/w\"rd+1&x";
        let redactor = hiding(&[json!(secret)]);
        let shown = |text: &str| redactor.text(text);
        // `Authorization: Basic` of user:SECRET and of u:SECRET, in which it is shifted.
        for coded in
            ["dXNlcjpww6Qgc3MvdyJyZCsxJng=", "dTpww6Qgc3MvdyJyZCsxJng=", "OnDDpCBzcy93InJkKzEmeDs7"]
        {
            assert_eq!(shown(&format!("Basic {coded}, then")), "Basic *****, then");
        }
        assert_eq!(shown("q=p%C3%A4%20ss%2Fw%22rd%2B1%26x;"), "q=*****;");
        assert_eq!(shown("q=p%c3%a4%20ss%2fw%22rd%2b1%26x;"), "q=*****;");
        assert_eq!(shown("q=p%C3%A4+ss%2Fw%22rd%2B1%26x;"), "q=*****;");
        assert_eq!(shown("http://h/p%C3%A4%20ss/w%22rd+1&x."), "http://h/*****.");
        assert_eq!(shown(r#"{"a":"pä ss/w\"rd+1&x"}"#), r#"{"a":"*****"}"#);
        assert_eq!(shown("70c3a42073732f772272642b312678"), "*****");
        assert_eq!(shown("70C3A42073732F772272642B312678"), "*****");
    }

    #[test]
    fn members_of_data_are_hidden_and_short_ones_are_not() {
        let redactor = hiding(&[json!({
            "user": "admin", "password": "hunter22", "port": 5432, "id": 7, "tls": true,
            "keys": [{"pem": "line one of it\nline two of it"}], "no": null, "x": "ab"})]);
        let shown = redactor.value(&json!({"hunter22": "a true ab 7", "n": 5432, "m": 7,
            "list": ["as admin", "line two of it", null]}));
        assert_eq!(
            shown,
            json!({"*****": "a true ab 7", "n": "*****", "m": 7, "list": ["as *****", "*****", null]})
        );
        assert_eq!(hiding(&[json!(true), json!(null), json!("")]).text("true null"), "true null");
        assert_eq!(
            hiding(&[json!("7")]).value(&json!({"a": [7, 77]})),
            json!({"a": ["*****", 77]})
        );
    }

    #[test]
    fn an_experiment_keeps_the_words_of_its_format() {
        let redactor = hiding(&[json!("probe"), json!("method"), json!("name")]);
        let source = json!({"method": [{"type": "probe", "name": "a probe",
            "provider": {"headers": {"method": 1}}}]});
        let expected = json!({"method": [{"type": "*****", "name": "a *****",
            "provider": {"headers": {"*****": 1}}}]});
        assert_eq!(redactor.document(&source), expected);
    }
}
