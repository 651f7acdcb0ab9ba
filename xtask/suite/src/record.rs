//! What is reported, as one line of JSON each.

use serde::{Deserialize, Serialize};

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A test is about to run; the last of these names the test that brought a guest down.
    Start {
        /// The test program.
        suite: String,
        /// The test's name within it.
        test: String,
    },
    /// A test has ended.
    Test {
        /// The test program.
        suite: String,
        /// The test's name within it.
        test: String,
        /// How it ended.
        outcome: Outcome,
        /// Wall-clock seconds.
        seconds: f64,
    },
    /// Something failed that is no test.
    Problem {
        /// What was going on and what went wrong.
        what: String,
    },
    /// The exit code of the one command the guest was asked to run.
    Exit {
        /// As a shell counts: 128 and the signal's number if a signal ended it.
        code: i32,
    },
    /// The report is complete. Without this line it is not a report.
    Done,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Pass,
    /// It failed, with the end of what it printed.
    Fail {
        /// Why, and the end of the output.
        output: String,
    },
    /// It found features missing and returned; whether they may be missing is not judged here.
    Skip {
        /// The features it named.
        features: Vec<String>,
    },
    /// It is marked `#[ignore]`.
    Ignored,
}

impl Record {
    /// This record as a line without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            // Not reached: the types above have no maps and no foreign serializers.
            format!(r#"{{"record":"problem","what":"a record has no JSON form: {error}"}}"#)
        })
    }

    /// Reads a line; `None` if it is no record.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_wire_form_is_this() {
        let record = Record::Test {
            suite: "detour".into(),
            test: "v6::delay".into(),
            outcome: Outcome::Skip { features: vec!["netem".into()] },
            seconds: 0.5,
        };
        assert_eq!(
            record.to_line(),
            r#"{"record":"test","suite":"detour","test":"v6::delay","outcome":{"status":"skip","features":["netem"]},"seconds":0.5}"#
        );
        assert_eq!(Record::Done.to_line(), r#"{"record":"done"}"#);
    }

    proptest! {
        #[test]
        fn every_output_survives_the_line(output in any::<String>(), seconds in 0.0..1e6) {
            let record = Record::Test {
                suite: "s".into(),
                test: "t".into(),
                outcome: Outcome::Fail { output },
                seconds,
            };
            let line = record.to_line();
            prop_assert!(!line.contains('\n'));
            let Record::Test { outcome, .. } = Record::parse(&line).unwrap() else {
                return Err(TestCaseError::fail("another record came back"));
            };
            let Record::Test { outcome: sent, .. } = record else { unreachable!() };
            prop_assert_eq!(outcome, sent);
        }

        #[test]
        fn garbage_is_an_error(line in any::<String>()) {
            prop_assume!(!line.contains("record"));
            prop_assert_eq!(Record::parse(&line), None);
        }
    }
}
