//! The workflow that runs everything weekly reads reports and exit codes: both have to be what it
//! takes them for.

use regex::Regex;
use serde_json::Value;

use super::markdown;
use super::sample::{Story, run};
use crate::exit::Exit;
use crate::experiment::yaml;

/// The steps of its only job.
fn steps() -> Vec<Value> {
    let text = include_str!("../../../.github/workflows/chaos.yml");
    let workflow: Value = yaml::read(text).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap();
    jobs.values().next().unwrap()["steps"].as_array().unwrap().clone()
}

fn step(name: &str) -> Value {
    let found = steps().into_iter().find(|step| step["name"] == name);
    found.unwrap_or_else(|| panic!("no step `{name}`"))
}

fn script(name: &str) -> String {
    step(name)["run"].as_str().unwrap().to_owned()
}

#[test]
fn the_issue_has_the_reports_of_what_did_not_pass() {
    let script = script("Open an issue");
    let pattern = Regex::new("head -n 1 .* grep -q '([^']+)'").unwrap();
    let passed = Regex::new(&pattern.captures(&script).unwrap()[1]).unwrap();
    for (story, expected) in
        [(Story::Passed, true), (Story::Failed, false), (Story::Inconclusive, false)]
    {
        let text = markdown(&run(story).1);
        let first = text.lines().next().unwrap();
        assert_eq!(passed.is_match(first), expected, "{first}");
    }
}

#[test]
fn every_exit_code_has_words_of_its_own() {
    let script = script("Open an issue");
    let arm = Regex::new(r#"(?m)^\s*(\S+)\) what="([^"]+)" ;;$"#).unwrap();
    let arms: Vec<(String, String)> =
        arm.captures_iter(&script).map(|arm| (arm[1].to_owned(), arm[2].to_owned())).collect();
    let all = [
        Exit::Fail,
        Exit::Inconclusive,
        Exit::Aborted,
        Exit::HostUnable,
        Exit::ToolFailed,
        Exit::NotHealed,
        Exit::Usage,
    ];
    let mut said = std::collections::BTreeSet::new();
    for exit in all {
        let code = (exit as u8).to_string();
        let words = arms.iter().find(|(of, _)| *of == code);
        said.insert(&words.unwrap_or_else(|| panic!("nothing is said of {exit:?}")).1);
    }
    assert_eq!(said.len(), all.len(), "{arms:?}");
    let tool = arms.iter().find(|(_, words)| words == "the tool failed");
    assert_eq!(tool.map(|(code, _)| code.as_str()), Some("5"));
    // Without a code nothing was run.
    assert!(arms.iter().any(|(code, words)| code == "\"\"" && words.contains("built")));
}

#[test]
fn it_says_so_when_nothing_could_be_run_and_keeps_what_may_be_kept() {
    let condition = step("Open an issue")["if"].as_str().unwrap().to_owned();
    assert!(condition.starts_with("failure() || "), "{condition}");
    let kept = step("Upload the reports")["with"]["path"].as_str().unwrap().to_owned();
    assert!(kept.lines().any(|line| line == "!chaos-results/*/lab"), "{kept}");
    // Elsewhere the tool is checked out, and built there.
    let checkout = step("Check the tool out");
    assert_eq!(checkout["with"]["repository"], "${{ vars.CHAOS_REPOSITORY }}");
    assert_eq!(checkout["with"]["path"], ".chaos-tool");
    assert!(script("Find the tool's source").contains("source=.chaos-tool"));
    assert_eq!(script("Build"), "cd \"$SOURCE\" && cargo xtask build");
    for name in ["What this host can do", "Run the experiments"] {
        assert!(script(name).contains("\"$CHAOS\" "), "{name}");
    }
}
