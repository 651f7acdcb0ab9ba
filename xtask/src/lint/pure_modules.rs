//! What is decided from values alone does no IO and reads no clock.

use super::Source;

const FOLDER: &str = "chaos-user/src";

/// The modules that must stay pure, so that everything they do can be tested from files.
const PURE: [&str; 6] = ["experiment", "guard", "plan", "verdict", "report", "checker"];

const FORBIDDEN: [&str; 9] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "tokio::fs",
    "tokio::net",
    "tokio::time",
];

/// Lines of pure modules that reach outside.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let Some(module) = PURE.iter().find(|module| {
            source.path.starts_with(format!("{FOLDER}/{module}"))
                || source.path.ends_with(format!("{FOLDER}/{module}.rs"))
        }) else {
            continue;
        };
        for (number, line) in source.product_lines() {
            if let Some(word) = FORBIDDEN.iter().find(|word| line.contains(**word)) {
                let path = source.path.display();
                broken.push(format!("{path}:{number}: `{module}` is pure, and this uses `{word}`"));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> usize {
        check(&[Source { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn reaching_outside_is_found_where_it_is_forbidden() {
        let text = "use std::fs;\nlet now = Instant::now();\n";
        assert_eq!(check_one("chaos-user/src/plan/grudge.rs", text), 2);
        assert_eq!(check_one("chaos-user/src/verdict.rs", text), 2);
        assert_eq!(check_one("chaos-user/src/run/conductor.rs", text), 0);
    }

    #[test]
    fn comments_and_tests_may_mention_it() {
        let text = "// not std::fs\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(check_one("chaos-user/src/plan/mod.rs", text), 0);
    }
}
