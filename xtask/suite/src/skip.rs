//! The words with which a test says that it found a feature missing.

/// The features that a test's output names in lines of the form `CHAOS-SKIP <test> <feature>`.
///
/// Such a test returns without failing; whoever runs it judges whether the feature may be missing
/// there.
pub fn skipped_features(output: &str) -> Vec<String> {
    let mut features: Vec<String> = output.lines().filter_map(feature).map(String::from).collect();
    features.sort();
    features.dedup();
    features
}

/// libtest prints `test name ... ` without a line end before a test's own first line.
fn feature(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("CHAOS-SKIP ")?;
    let mut words = rest.split_whitespace();
    let feature = words.nth(1)?;
    (before.is_empty() || before.ends_with(" ... ")).then_some(feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_protocol_are_found() {
        let output = "running 1 test\ntest a ... CHAOS-SKIP a netem\nCHAOS-SKIP a tcx\n\
                      CHAOS-SKIP a netem\nok\n";
        assert_eq!(skipped_features(output), ["netem", "tcx"]);
    }

    #[test]
    fn other_lines_are_not() {
        for line in ["", "CHAOS-SKIP", "CHAOS-SKIP a", "see CHAOS-SKIP a netem", "chaos-skip a b"] {
            assert!(skipped_features(line).is_empty(), "{line:?}");
        }
    }
}
