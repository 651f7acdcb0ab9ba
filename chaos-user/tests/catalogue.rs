//! The scenarios of the catalogue: a fault that hits nothing is inconclusive, one that cannot be
//! prepared says why, and every operation is recorded. That the same seed makes the same requests is in
//! `experiments.rs`. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Runs a shipped experiment with some of its text, or of its lab's, replaced; its exit code and
    /// findings.
    fn run(&self, name: &str, changes: &[(&str, &str)], more: &[&str]) -> (i32, Value) {
        let path = experiments().join(format!("{name}.yaml"));
        let mut text = std::fs::read_to_string(&path).unwrap();
        let lab = text.lines().find_map(|line| line.strip_prefix("lab: ")).unwrap();
        let lab = experiments().join(lab.split(' ').next().unwrap());
        let of_lab = std::fs::read_to_string(&lab).unwrap();
        let vendor = "  vendor: { networks: [market] }\n";
        assert!(of_lab.contains(vendor), "{name}");
        let mut of_lab = of_lab.replace(vendor, GONE);
        for (old, new) in changes {
            assert!(text.contains(old) || of_lab.contains(old), "{name} no longer says {old}");
            text = text.replace(old, new);
            of_lab = of_lab.replace(old, new);
        }
        std::fs::write(self.0.path().join("lab.yaml"), of_lab).unwrap();
        let lab = text.lines().find(|line| line.starts_with("lab: ")).unwrap().to_owned();
        text = text.replace(&lab, "lab: lab.yaml");
        let file = self.0.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(["run", "--json", file.to_str().unwrap()])
            .args(more)
            .env("CHAOS_STATE_DIR", self.0.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .env_remove("MARKETPLACE_DEFECTS")
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let runs: Value =
            serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
        (done.status.code().unwrap(), runs[0].clone())
    }

    /// The operations of the only run, in order, without their times.
    fn operations(&self) -> Vec<Value> {
        // The history lies beside the run's folder.
        let results = std::fs::read_dir(self.0.path().join("chaos-results")).unwrap();
        let mut beside = results.map(|entry| entry.unwrap().path());
        let folder = beside.find(|path| path.is_dir()).unwrap();
        let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let batches =
            lines.filter_map(|line| line["event"]["operations"]["operations"].as_array().cloned());
        let mut all: Vec<Value> = batches.flatten().collect();
        for operation in &mut all {
            operation.as_object_mut().unwrap().remove("at");
        }
        all
    }
}

/// Emulated machines are too slow for experiments whose bounds are those of people.
fn real_time(test: &str) -> bool {
    let slow = std::env::var_os("CHAOS_TEST_SLOWNESS").is_some();
    if slow {
        println!("CHAOS-SKIP {test} real-time");
    }
    !slow
}

/// A process of the vendor's that is long over when a fault is aimed at it.
const GONE: &str = "  vendor:
    networks: [market]
    processes: [{ name: gone, command: [\"true\"] }]
";

/// Changes that make a fault of a scenario hit nothing.
const MISSES: &[(&str, &[(&str, &str)])] = &[
    (
        "network",
        &[("latency: 500ms, duration: 8s", "latency: 500ms, remote-ports: [9], duration: 1s")],
    ),
    (
        "network",
        &[
            ("remote-ports: [18084], duration: 16s", "remote-ports: [9], duration: 1s"),
            // Else the slow network alone breaks an expectation, at a look before this.
            ("wallet_vendor.ok, expect: false", "wallet_vendor.ok, expect: true"),
        ],
    ),
    ("disputes", &[("escrows/${escrow}/resolve", "escrows/${escrow}/nothing")]),
    (
        "byzantine",
        &[
            (
                "url: \"${target.url}/api/escrows/${escrow}/multisig/info\", headers: { X-User: buyer-1 }, body: { round: 1, info: \"${fresh}\" }, tolerance: 200",
                "url: \"http://server:9/\", tolerance: { type: fails }",
            ),
            ("${target.url}/api/escrows/${escrow}/multisig/info", "http://server:9/"),
        ],
    ),
    ("memory", &[("${target.url}/api/listings\", headers", "http://server:9/\", headers")]),
    (
        "pool",
        &[(
            "url: \"${target.url}/api/listings\", timeout: 20s",
            "url: \"http://server:9/\", timeout: 20s",
        )],
    ),
    (
        "generals",
        &[
            ("body: { lie: address }", "body: { lie: none }"),
            ("body: { lie: info }", "body: { lie: none }"),
        ],
    ),
    ("cascade", &[("fault: pause", "fault: pause, node: vendor, process: gone")]),
    ("rpc", &[("fault: kill", "fault: kill, node: vendor, process: gone")]),
    ("restart", &[("fault: kill", "fault: kill, node: vendor, process: gone")]),
    (
        "partition",
        &[("between: [buyer, server]\n", "between: [buyer, server]\n      remote-ports: [9]\n")],
    ),
];

fn misses_are_inconclusive(names: &[&str]) {
    for (name, changes) in MISSES.iter().filter(|(name, _)| names.contains(name)) {
        let (exit, run) = Place::new().run(name, changes, &[]);
        let (because, judged) = (run["because"].as_str().unwrap(), &run["judgements"]);
        let inconclusive = exit == 2 && run["verdict"] == "INCONCLUSIVE";
        assert!(
            inconclusive && because.contains("hit nothing"),
            "{run:#}\n{name}: {exit} {}: {because}\n{judged:#}",
            run["verdict"],
        );
    }
}

#[test]
fn workloads_that_hit_nothing_are_inconclusive() {
    if real_time("workloads_that_hit_nothing_are_inconclusive") {
        misses_are_inconclusive(&["disputes", "byzantine", "memory", "pool", "generals"]);
    }
}

#[test]
fn faults_that_hit_nothing_are_inconclusive() {
    if real_time("faults_that_hit_nothing_are_inconclusive") {
        misses_are_inconclusive(&["cascade", "rpc", "restart", "partition"]);
    }
}

#[test]
fn each_fault_of_two_that_hits_nothing_is_inconclusive() {
    if real_time("each_fault_of_two_that_hits_nothing_is_inconclusive") {
        misses_are_inconclusive(&["network"]);
    }
}

#[test]
fn a_preparation_that_fails_is_inconclusive_and_says_why() {
    if !real_time("a_preparation_that_fails_is_inconclusive_and_says_why") {
        return;
    }
    let nothing_for_sale = ("listing_id: listing-2", "listing_id: sold-out");
    let (exit, run) = Place::new().run("disputes", &[nothing_for_sale], &[]);
    assert_eq!((exit, &run["verdict"]), (2, &Value::from("INCONCLUSIVE")), "{run:#}");
    let remark = run["faults"][0]["remarks"][0].as_str().unwrap();
    assert!(remark.starts_with("`buy` of the preparation: status 404"), "{remark}");
}

/// `chaos respond` in front of the buyer's wallet service, instead of that service's own lies.
const RESPONDER: &[(&str, &str)] = &[
    (
        r#"        command: [wallet-sim, --listen, "127.0.0.1:18083", --data, "{data}", --seed, "1", --control]
        ready: { tcp: "127.0.0.1:18083" }
"#,
        r#"        command: [wallet-sim, --listen, "127.0.0.1:28083", --data, "{data}", --seed, "1"]
        ready: { tcp: "127.0.0.1:28083" }
      - name: liar
        command: [chaos, respond, --listen, "127.0.0.1:18083", --upstream, "http://127.0.0.1:28083", --control, "127.0.0.1:28090"]
        ready: { tcp: "127.0.0.1:18083" }
"#,
    ),
    (
        r#"url: "http://127.0.0.1:18083/sim", body: { lie: address }"#,
        r#"method: PUT, url: "http://127.0.0.1:28090/rules", body: [{ set: { "$[?@.address != ''].address": [4A, 4B, 4C] } }]"#,
    ),
    (
        r#"url: "http://127.0.0.1:18083/sim", body: { lie: info }"#,
        r#"method: PUT, url: "http://127.0.0.1:28090/rules", body: [{ set: { "$[?@.multisig_info != ''].multisig_info": [one, other] } }]"#,
    ),
    (
        r#"url: "http://127.0.0.1:18083/sim", save: { lies: $.lies }"#,
        r#"url: "http://127.0.0.1:28090/", save: { lies: $.changed }"#,
    ),
    (
        r#"url: "http://127.0.0.1:18083/sim", body: {}, tolerance: 204"#,
        r#"method: DELETE, url: "http://127.0.0.1:28090/rules", tolerance: 204"#,
    ),
];

/// A responder in front of any service shows what the simulator's own lies show.
#[test]
fn conflicting_answers_of_a_responder_are_caught() {
    if !real_time("conflicting_answers_of_a_responder_are_caught") {
        return;
    }
    let (exit, run) = Place::new().run("generals", RESPONDER, &[]);
    assert_eq!(exit, 0, "{run:#}\n{}", run["because"]);
    for fault in run["faults"].as_array().unwrap() {
        assert!(fault["evidence"][0]["acted"].as_u64() > Some(0), "{fault:#}");
    }
    // Who believes the buyer's wallet is found out by the same answers.
    let careless = "          - --seed-demo\n";
    let believing = format!("{careless}          - --defect=accept-conflict\n");
    let changes = [RESPONDER, &[(careless, &believing)]].concat();
    let (exit, run) = Place::new().run("generals", &changes, &[]);
    assert_eq!((exit, &run["verdict"]), (1, &Value::from("FAIL")), "{run:#}");
    assert!(run["because"].as_str().unwrap().contains("participants_agree"), "{run:#}");
}

#[test]
fn every_operation_is_recorded() {
    if !real_time("every_operation_is_recorded") {
        return;
    }
    let place = Place::new();
    let (exit, run) = place.run("disputes", &[], &["--seed", "7"]);
    assert_eq!(exit, 0, "{run:#}");
    let evidence = &run["faults"][0]["evidence"][0];
    assert_eq!((&evidence["seen"], &evidence["acted"]), (&Value::from(25), &Value::from(25)));
    let operations = place.operations();
    let count = |state: &str| operations.iter().filter(|one| one["state"] == state).count();
    assert_eq!((count("invoke"), count("ok"), count("fail"), count("info")), (25, 5, 20, 0));
}
