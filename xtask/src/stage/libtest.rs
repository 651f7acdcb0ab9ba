//! Reads what `cargo test` prints.

use super::Tally;

/// What `cargo test` printed, counted, and the tests that failed.
///
/// `succeeded` is cargo's own verdict. A test program that ends without its result line counts as
/// one failure; so does a run that cargo calls failed for a reason this cannot see, such as a
/// compile error.
pub(crate) fn parse(output: &str, succeeded: bool) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let mut program: Option<&str> = None;
    for line in output.lines().map(str::trim_end) {
        if let Some(next) = program_start(line) {
            if let Some(silent) = program.replace(next) {
                failures.push(format!("{silent} ended without a result"));
                tally.failed += 1;
            }
        } else if let Some(result) = line.strip_prefix("test result: ") {
            if let Some(counts) = counts(result) {
                tally += counts;
                program = None;
            }
        } else if let Some(name) = failed_test(line) {
            failures.push(program.map_or_else(|| name.to_owned(), |p| format!("{name} in {p}")));
        }
    }
    if let Some(silent) = program {
        failures.push(format!("{silent} ended without a result"));
        tally.failed += 1;
    }
    if !succeeded && tally.failed == 0 {
        failures.push("cargo test failed before or after the tests".into());
        tally.failed += 1;
    }
    (tally, failures)
}

/// `     Running unittests src/lib.rs (target/…)` and `   Doc-tests chaos`.
fn program_start(line: &str) -> Option<&str> {
    let trimmed = line.trim_start();
    let indented = trimmed.len() < line.len();
    let program = trimmed
        .strip_prefix("Running ")
        .map(|rest| rest.rsplit_once(" (").map_or(rest, |(program, _)| program))
        .or_else(|| trimmed.starts_with("Doc-tests ").then_some(trimmed))?;
    indented.then_some(program)
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
fn counts(result: &str) -> Option<Tally> {
    let field = |name: &str| {
        result
            .split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok())
    };
    Some(Tally { passed: field("passed")?, failed: field("failed")?, skipped: field("ignored")? })
}

/// `test name ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSING: &str = "   Compiling chaos v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/chaos-1)\n\nrunning 3 tests\ntest a ... ok\ntest b ... ignored, needs a name\ntest c ... ok\n\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n   Doc-tests chaos\n\nrunning 1 test\ntest src/lib.rs - x (line 3) ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.10s\n";

    fn tally(passed: usize, failed: usize, skipped: usize) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn programs_are_summed() {
        assert_eq!(parse(PASSING, true), (tally(3, 0, 1), vec![]));
    }

    #[test]
    fn failed_tests_are_named() {
        let output = "     Running tests/x.rs (target/debug/deps/x-1)\ntest a ... FAILED\ntest b ... ok\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(parse(output, false), (tally(1, 1, 0), vec!["a in tests/x.rs".into()]));
    }

    #[test]
    fn a_crashed_program_is_a_failure() {
        let crashed =
            "     Running tests/x.rs (target/debug/deps/x-1)\n\nrunning 2 tests\ntest a ... ok\n";
        let (found, failures) = parse(&format!("{crashed}{PASSING}"), false);
        assert_eq!(found, tally(3, 1, 1));
        assert_eq!(failures, ["tests/x.rs ended without a result"]);
        assert_eq!(parse(crashed, false).0, tally(0, 1, 0));
    }

    #[test]
    fn a_compile_error_is_a_failure() {
        assert_eq!(parse("error: could not compile `chaos`\n", false).0, tally(0, 1, 0));
    }

    #[test]
    fn a_tests_own_words_are_not_counted() {
        let output = "note: test result: ok. 9 passed; 0 failed; 0 ignored\nRunning away (fast)\n";
        assert_eq!(parse(output, true), (tally(0, 0, 0), vec![]));
    }

    proptest! {
        #[test]
        fn any_output_is_survived_and_failure_is_never_lost(output in "(?s).{0,400}") {
            let (tally, failures) = parse(&output, false);
            prop_assert!(tally.failed > 0);
            prop_assert!(!failures.is_empty() || output.contains("test result"));
        }
    }
}
