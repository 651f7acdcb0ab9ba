//! Which calls are answered wrongly, and how. Pure.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use indexmap::IndexMap;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::{JsonPath, NormalizedPath};
use serde_saphyr::{Location, Spanned};

use crate::experiment::{ExperimentError, Place, Problem, yaml};

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    #[serde(default)]
    when: WhenDocument,
    set: Option<Spanned<IndexMap<String, Spanned<Vec<Value>>>>>,
    answers: Option<Spanned<Vec<AnswerDocument>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenDocument {
    path: Option<Spanned<String>>,
    method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerDocument {
    status: Option<Spanned<u16>>,
    #[serde(default)]
    body: Value,
}

/// An answer that nobody asked the service for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// The HTTP status, 200 to 599.
    pub status: u16,
    /// The body: a text as it is, nothing for `null`, all else as JSON.
    pub body: Value,
}

/// What is put in place of the truth.
#[derive(Debug)]
enum Lie {
    /// Members of the service's answer, with the values they get in turn.
    Set(Vec<(JsonPath, Vec<Value>)>),
    /// Whole answers, given in turn.
    Answers(Vec<Told>),
}

/// A rule: which calls it is about, and what is said to them in turn.
#[derive(Debug)]
pub struct Rule {
    path: Option<Regex>,
    method: Option<String>,
    lie: Lie,
    /// How many have been told already, which says whose turn it is.
    turns: AtomicU64,
}

/// Rules of which the first that is about a call decides.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// As they were written.
    shown: Value,
}

impl RuleSet {
    /// Reads a list of rules, YAML or JSON; `file` is what errors name.
    ///
    /// # Errors
    /// With the place: a syntax error, an unknown key, a pattern that does not compile, a rule that
    /// changes nothing.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ExperimentError> {
        let from_yaml = |error| ExperimentError::from_yaml(&error, file.to_owned());
        let documents: Vec<Spanned<RuleDocument>> = yaml::read(text).map_err(from_yaml)?;
        let shown = yaml::read(text).map_err(from_yaml)?;
        let rules = documents.into_iter().map(Rule::check).collect::<Result<_, _>>();
        let rules = rules.map_err(|(place, problem)| ExperimentError {
            file: file.to_owned(),
            place,
            problem,
        })?;
        Ok(Self { rules, shown })
    }

    /// The first rule that is about a call of `path` (without the query) with this body.
    pub fn find(&self, path: &str, body: &[u8]) -> Option<&Rule> {
        let reads_bodies = self.rules.iter().any(|rule| rule.method.is_some());
        let method = if reads_bodies { method(body) } else { None };
        self.rules.iter().find(|rule| {
            rule.path.as_ref().is_none_or(|pattern| pattern.is_match(path))
                && rule.method.as_ref().is_none_or(|wanted| method.as_ref() == Some(wanted))
        })
    }

    /// The rules as they were written: a list.
    pub fn shown(&self) -> Value {
        if self.shown.is_null() { Value::Array(Vec::new()) } else { self.shown.clone() }
    }
}

/// The method of a JSON-RPC call. A batch has none.
fn method(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Call {
        method: String,
    }
    serde_json::from_slice::<Call>(body).ok().map(|call| call.method)
}

type Refusal = (Place, Box<Problem>);

fn refusal(at: Location, problem: Problem) -> Refusal {
    (at.into(), Box::new(problem))
}

fn refuse(at: Location, why: &str) -> Refusal {
    refusal(at, Problem::Refused(why.to_owned()))
}

impl Rule {
    fn check(document: Spanned<RuleDocument>) -> Result<Self, Refusal> {
        let at = document.referenced;
        let RuleDocument { when, set, answers } = document.value;
        let path = when.path.map(|path| {
            Regex::new(&path.value).map_err(|error| {
                let why = error.to_string().lines().last().unwrap_or_default().to_owned();
                refusal(path.referenced, pattern("regular expression", &path.value, why))
            })
        });
        let lie = match (set, answers) {
            (Some(set), None) => Lie::Set(check_set(set)?),
            (None, Some(answers)) => Lie::Answers(check_answers(answers)?),
            (Some(_), Some(_)) => {
                return Err(refusal(at, Problem::Exclusive { one: "set", other: "answers" }));
            }
            (None, None) => {
                return Err(refuse(
                    at,
                    "a rule needs `set`, the members of an answer that it changes, or `answers`, \
                     what it says instead",
                ));
            }
        };
        let turns = AtomicU64::new(0);
        Ok(Self { path: path.transpose()?, method: when.method, lie, turns })
    }

    /// What is said without asking the service: the answer whose turn it is, if it is such a rule.
    pub fn answer(&self) -> Option<&Told> {
        match &self.lie {
            Lie::Answers(answers) => in_turn(answers, self.turns.fetch_add(1, Relaxed)),
            Lie::Set(_) => None,
        }
    }

    /// What is said in place of `truth`, if that has what the rule changes and said otherwise.
    pub fn distort(&self, truth: &[u8]) -> Option<Vec<u8>> {
        let Lie::Set(members) = &self.lie else { return None };
        let truth: Value = serde_json::from_slice(truth).ok()?;
        let found: Vec<_> = members
            .iter()
            .flat_map(|(path, values)| {
                let places = path.query_located(&truth);
                let pointers: Vec<_> =
                    places.locations().map(NormalizedPath::to_json_pointer).collect();
                pointers.into_iter().map(move |pointer| (pointer, values))
            })
            .collect();
        if found.is_empty() {
            return None;
        }
        let turn = self.turns.fetch_add(1, Relaxed);
        let mut told = truth.clone();
        for (pointer, values) in found {
            // A member of a member that has been replaced may be gone.
            if let (Some(member), Some(value)) = (told.pointer_mut(&pointer), in_turn(values, turn))
            {
                *member = value.clone();
            }
        }
        (told != truth).then(|| told.to_string().into_bytes())
    }
}

fn in_turn<T>(list: &[T], turn: u64) -> Option<&T> {
    list.get(usize::try_from(turn.checked_rem(list.len() as u64)?).ok()?)
}

fn pattern(what: &'static str, pattern: &str, why: String) -> Problem {
    Problem::Pattern { what, pattern: pattern.to_owned(), why }
}

fn check_set(
    set: Spanned<IndexMap<String, Spanned<Vec<Value>>>>,
) -> Result<Vec<(JsonPath, Vec<Value>)>, Refusal> {
    if set.value.is_empty() {
        return Err(refuse(set.referenced, "`set` is empty; name a member that it changes"));
    }
    let checked = set.value.into_iter().map(|(path, values)| {
        if values.value.is_empty() {
            let why = format!("`{path}` needs a value that callers are given");
            return Err(refuse(values.referenced, &why));
        }
        let parsed = JsonPath::parse(&path).map_err(|error| {
            refusal(values.referenced, pattern("JSONPath", &path, error.to_string()))
        })?;
        Ok((parsed, values.value))
    });
    checked.collect()
}

fn check_answers(answers: Spanned<Vec<AnswerDocument>>) -> Result<Vec<Told>, Refusal> {
    if answers.value.is_empty() {
        return Err(refuse(answers.referenced, "`answers` is empty; say what callers are told"));
    }
    let checked = answers.value.into_iter().map(|answer| match answer.status {
        Some(status) if !(200..=599).contains(&status.value) => {
            Err(refuse(status.referenced, "`status` must be from 200 to 599"))
        }
        status => Ok(Told { status: status.map_or(200, |status| status.value), body: answer.body }),
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<RuleSet, String> {
        RuleSet::parse(text, Path::new("rules.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn callers_are_told_in_turn_and_only_about_what_is_there() {
        let rules = parse("[{when: {method: ask}, set: {$.result.a: [x, z]}}]").unwrap();
        let rule = rules.find("/json_rpc", br#"{"method": "ask"}"#).unwrap();
        assert_eq!(rule.distort(br#"{"result": {}}"#), None);
        assert_eq!(rule.distort(b"no JSON"), None);
        let told = || rule.distort(br#"{"z": 1, "result": {"a": "x", "b": 2}}"#);
        assert_eq!(told(), None, "what is true is no lie, but it was a turn");
        assert_eq!(told().unwrap(), br#"{"z":1,"result":{"a":"z","b":2}}"#);
        assert_eq!(told(), None);
    }

    #[test]
    fn the_first_rule_about_a_call_decides() {
        let rules = parse(
            "- when: {path: ^/a, method: m}\n  answers: [{status: 500}, {body: {k: 1}}]\n\
             - when: {path: ^/a}\n  answers: [{body: text}]\n",
        )
        .unwrap();
        let first = rules.find("/a", br#"{"method": "m"}"#).unwrap();
        assert_eq!(first.answer(), Some(&Told { status: 500, body: Value::Null }));
        assert_eq!(first.answer(), Some(&Told { status: 200, body: json!({"k": 1}) }));
        assert_eq!(first.answer().unwrap().status, 500);
        let second = rules.find("/a", br#"{"method": "other"}"#).unwrap();
        assert_eq!(second.answer().unwrap().body, "text");
        assert!(rules.find("/b", br#"{"method": "m"}"#).is_none());
        assert!(RuleSet::default().find("/a", b"").is_none());
    }

    #[test]
    fn what_is_not_understood_has_a_place() {
        for (text, wanted) in [
            (
                "- whem: {}\n  answers: [{}]",
                "rules.yaml:1:3: unknown key `whem`; did you mean `when`?",
            ),
            (
                "- when: {path: '('}\n  answers: [{}]",
                "rules.yaml:1:16: `(` is not a regular expression",
            ),
            ("- set: {nope: [1]}", "rules.yaml:1:15: `nope` is not a JSONPath"),
            ("- set: {$.a: []}", "rules.yaml:1:14: `$.a` needs a value"),
            ("- answers: [{status: 99}]", "rules.yaml:1:22: `status` must be"),
            ("- answers: []", "rules.yaml:1:12: `answers` is empty"),
            ("- when: {}", "a rule needs `set`"),
            ("- {set: {$.a: [1]}, answers: [{}]}", "`set` and `answers` exclude each other"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}", body in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(rules) = parse(&text) {
                rules.find(&text, &body).map(|rule| rule.distort(&body));
            }
            let rules = parse("[{set: {'$..*': [1, [2]], $.a.b: [3]}}]").unwrap();
            let rule = rules.find(&text, &body).unwrap();
            rule.distort(&body);
            rule.distort(json!({"a": {"b": text}, "c": [{"a": 1}]}).to_string().as_bytes());
        }
    }
}
