//! Every way in which the marketplace can be wrong turns the scenarios red that are to catch it, for the
//! right reason, and no others. That it passes all of them when it is healthy is shown elsewhere. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// Labs at the same time. Most of their time is waiting.
const AT_ONCE: usize = 4;

/// A defect, the scenario that has to catch it, and an expectation that must be broken then (or one
/// of several: who is left without a connection is a matter of chance).
const CATCHES: &[(&str, &str, &str)] = &[
    ("no-timeout", "network", "payments-into-silence"),
    ("no-request-timeout", "network", "payments-into-silence"),
    ("short-timeout", "network", "payments-on-a-slow-network"),
    ("panic-on-timeout", "network", "server-answers"),
    ("no-slow-notice", "network", "payments-on-a-slow-network"),
    ("panic-on-rpc-error", "network", "server-answers"),
    ("no-rollback", "network", "payments-into-silence"),
    ("breaker-never-closes", "network", "payments-into-silence"),
    ("false-success", "network", "payments-into-silence"),
    ("no-breaker", "network", "payments-into-silence"),
    ("unlimited-retries", "network", "payments-into-silence"),
    ("panic-on-rpc-error", "rpc", "server-answers"),
    ("no-rollback", "rpc", "payments"),
    ("breaker-never-closes", "rpc", "payments"),
    ("unhelpful-error", "rpc", "trade-is-refused-with-a-reason"),
    ("silent-failure", "rpc", "failures-are-logged"),
    ("false-success", "rpc", "payments"),
    ("pool-leak", "pool", "fifty-users"),
    ("pool-deadlock", "pool", "fifty-users"),
    ("pool-no-queue", "pool", "many-reads"),
    ("request-leak", "pool", "many-reads"),
    ("hold-connection-during-rpc", "pool", "fifty-users"),
    ("exit-on-pool-timeout", "pool", "server-answers"),
    ("memory-multisig", "restart", "set-up-under-way"),
    ("no-recovery", "restart", "books-balance"),
    ("stale-lock", "restart", "server-answers"),
    ("lost-writes", "restart", "set-up-under-way"),
    ("no-rollback", "restart", "payment-under-way"),
    ("silent-failure", "byzantine", "refusals-are-logged"),
    ("accept-malformed", "byzantine", "crafted-info"),
    ("accept-replay", "byzantine", "crafted-info"),
    ("accept-wrong-round", "byzantine", "crafted-info"),
    ("accept-other-party", "byzantine", "crafted-info"),
    ("panic-on-malformed", "byzantine", "server-answers"),
    ("double-release", "disputes", "paid-out-exactly-once"),
    ("settle-deadlock", "disputes", "resolutions"),
    ("settle-without-payout", "disputes", "paid-out-exactly-once"),
    ("silent-failure", "disputes", "contest-is-noticed"),
    ("request-leak", "memory", "many-small-requests"),
    ("no-body-limit", "memory", "large-bodies"),
    ("read-body-first", "memory", "large-bodies"),
    ("body-leak", "memory", "large-bodies"),
    ("crash-on-large-body", "memory", "server-answers"),
    ("silent-failure", "memory", "large-bodies-are-noticed"),
    ("pool-no-queue", "memory", "many-small-requests"),
    ("partition-hits-everyone", "partition", "vendor-goes-on-trading"),
    ("stale-after-heal", "partition", "buyer-is-seen-online"),
    ("never-offline", "partition", "buyer-is-seen-offline"),
    ("diverge-after-heal", "partition", "books-balance"),
    ("accept-conflict", "generals", "conflicting-addresses"),
    ("half-apply-conflict", "generals", "conflicting-addresses"),
    ("stuck-after-conflict", "generals", "conflicting-addresses"),
    ("silent-failure", "generals", "disagreement-is-noticed"),
    ("unhelpful-error", "generals", "conflicting-addresses"),
    ("no-timeout", "cascade", "retry-storm"),
    ("no-request-timeout", "cascade", "wallet-is-missed"),
    ("panic-on-timeout", "cascade", "server-answers"),
    ("panic-on-rpc-error", "cascade", "server-answers"),
    ("breaker-never-closes", "cascade", "trade-works"),
    ("pool-leak", "cascade", "server-answers|others-are-served|retry-storm"),
    ("pool-deadlock", "cascade", "server-answers|others-are-served|retry-storm"),
    ("pool-no-queue", "cascade", "retry-storm"),
    ("unhelpful-error", "cascade", "retry-storm"),
    ("no-breaker", "cascade", "retry-storm"),
    ("unlimited-retries", "cascade", "retry-storm"),
    ("hold-connection-during-rpc", "cascade", "others-are-served|retry-storm"),
    ("exit-on-pool-timeout", "cascade", "server-answers"),
];

/// Scenarios whose defects are not in the table above.
const ELSEWHERE: &[&str] = &["disk"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments").canonicalize().unwrap()
}

/// The names of everything that a run found broken.
fn broken(run: &Value) -> BTreeSet<String> {
    let expectations = run["expectations"].as_array().unwrap().iter();
    let broken = expectations.filter(|one| one["status"] == "broken");
    let mut names: BTreeSet<String> =
        broken.map(|one| one["probe"].as_str().unwrap().to_owned()).collect();
    // What did not come back is in the words of that judgement alone.
    let judgements = run["judgements"].as_array().unwrap().iter();
    for judgement in judgements.filter(|one| one["status"] == "broken") {
        for reason in judgement["reasons"].as_array().unwrap() {
            let name = reason.as_str().unwrap().split('`').nth(1).unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}

/// Runs a scenario against a marketplace with a defect; what was found, and all that was said.
fn run(place: &TempDir, defect: &str, scenario: &str) -> (Value, Output) {
    let folder = folder();
    let text = std::fs::read_to_string(folder.join(format!("{scenario}.yaml"))).unwrap();
    let lab = format!("lab: {}/../", folder.display());
    // Nothing recovers here, so there is no need to wait for it for long.
    let text =
        text.replace("lab: ../", &lab).replace("  within: 10s\n  stable", "  within: 4s\n  stable");
    let here = place.path().join(format!("{defect}-{scenario}"));
    std::fs::create_dir(&here).unwrap();
    let file = here.join(format!("{scenario}.yaml"));
    std::fs::write(&file, text).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["run", "--json", file.to_str().unwrap()])
        .env("CHAOS_STATE_DIR", here.join("state"))
        .env("MARKETPLACE_DEFECTS", defect)
        .env_remove("SSH_CONNECTION")
        .current_dir(&here)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    (runs[0].clone(), done)
}

/// What is not as it should be when a scenario does not have this verdict.
fn otherwise(
    (defect, scenario): (&str, &str),
    (run, done): &(Value, Output),
    (verdict, exit): (&str, i32),
) -> Option<String> {
    (run["verdict"] != verdict || done.status.code() != Some(exit))
        .then(|| format!("{done:?}\n{defect} in {scenario}: {} {}", run["verdict"], run["because"]))
}

/// What is not as it should be where a scenario has to catch a defect.
fn miss(place: &TempDir, defect: &str, scenario: &str, reason: &str) -> Option<String> {
    let found = run(place, defect, scenario);
    if let Some(wrong) = otherwise((defect, scenario), &found, ("FAIL", 1)) {
        return Some(wrong);
    }
    let broken = broken(&found.0);
    (!reason.split('|').any(|one| broken.contains(one))).then(|| {
        format!("{defect} in {scenario}: `{reason}` is not among what is broken: {broken:?}")
    })
}

/// Checks cases side by side; what is not as it should be.
fn wrong<T: Sync>(cases: &[T], check: impl Fn(&T) -> Option<String> + Sync) -> String {
    let next = AtomicUsize::new(0);
    let work = || {
        let more = || cases.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(more).filter_map(&check).collect::<Vec<_>>()
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    wrong.join("\n")
}

/// Emulated machines are too slow for experiments whose bounds are those of people.
fn real_time(test: &str) -> bool {
    let slow = std::env::var_os("CHAOS_TEST_SLOWNESS").is_some();
    if slow {
        println!("CHAOS-SKIP {test} real-time");
    }
    !slow
}

fn all_are_caught(scenario: &str) {
    if !real_time(&format!("defects_turn_{scenario}_red")) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let cases: Vec<_> = CATCHES.iter().filter(|(_, name, _)| *name == scenario).collect();
    let missed = wrong(&cases, |(defect, scenario, reason)| miss(&place, defect, scenario, reason));
    assert_eq!(missed, "");
}

macro_rules! scenarios {
    ($($test:ident: $scenario:literal,)*) => {
        $(#[test] fn $test() { all_are_caught($scenario); })*

        const TESTED: &[&str] = &[$($scenario),*];
    };
}

scenarios! {
    defects_turn_network_red: "network",
    defects_turn_rpc_red: "rpc",
    defects_turn_pool_red: "pool",
    defects_turn_restart_red: "restart",
    defects_turn_byzantine_red: "byzantine",
    defects_turn_disputes_red: "disputes",
    defects_turn_memory_red: "memory",
    defects_turn_partition_red: "partition",
    defects_turn_generals_red: "generals",
    defects_turn_cascade_red: "cascade",
}

/// The marketplace itself says which scenario has to catch what.
fn catalogue() -> Vec<Value> {
    let marketplace = Path::new(env!("CARGO_BIN_EXE_chaos")).with_file_name("marketplace");
    let done = Command::new(marketplace).args(["defects", "--json"]).output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap()
}

/// How many of the pairs that have to stay green are run: all of them are `cargo xtask matrix --all`.
const SAMPLE: usize = 12;

/// A defect turns no other scenarios red than those that have to catch it.
#[test]
fn defects_leave_other_scenarios_green() {
    if !real_time("defects_leave_other_scenarios_green") {
        return;
    }
    let given = std::env::var("CHAOS_TEST_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("CHAOS_TEST_SEED={seed}");
    let mut pairs = Vec::new();
    for entry in &catalogue() {
        let listed = |list: &str, scenario: &str| {
            entry[list].as_array().unwrap().contains(&Value::from(scenario))
        };
        let red = |scenario: &str| listed("caught_by", scenario) || listed("by_chance", scenario);
        let others = TESTED.iter().chain(ELSEWHERE).copied().filter(|scenario| !red(scenario));
        let defect = entry["name"].as_str().unwrap();
        pairs.extend(others.map(|scenario| (defect.to_owned(), scenario)));
    }
    fastrand::Rng::with_seed(seed).shuffle(&mut pairs);
    let place = tempfile::tempdir().unwrap();
    let red = wrong(&pairs[..SAMPLE], |(defect, scenario)| {
        otherwise((defect, scenario), &run(&place, defect, scenario), ("PASS", 0))
    });
    assert_eq!(red, "");
}

#[test]
fn the_table_has_every_defect() {
    let catalogue = catalogue();
    assert!(catalogue.len() >= 24, "{catalogue:?}");
    let wanted: BTreeSet<(&str, &str)> = catalogue
        .iter()
        .flat_map(|entry| {
            let scenarios = entry["caught_by"].as_array().unwrap().iter();
            scenarios.map(|scenario| (entry["name"].as_str().unwrap(), scenario.as_str().unwrap()))
        })
        .filter(|(_, scenario)| !ELSEWHERE.contains(scenario))
        .collect();
    let had: BTreeSet<(&str, &str)> =
        CATCHES.iter().map(|(name, scenario, _)| (*name, *scenario)).collect();
    assert_eq!(wanted, had);
    assert!(CATCHES.iter().all(|(_, scenario, _)| TESTED.contains(scenario)));
}
