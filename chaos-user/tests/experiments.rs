//! `chaos run`, `validate` and `report`, as a user types them, on real labs. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments").join(name)
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.0.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    /// An experiment file of the tests with some of its text replaced, beside its lab.
    fn copy(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let mut text = std::fs::read_to_string(file(name)).unwrap();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        std::fs::copy(file("lab.yaml"), self.0.path().join("lab.yaml")).unwrap();
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, experiment: &str) -> (i32, Value) {
        let done = self.chaos(&["run", "--json", experiment]).output().unwrap();
        (code(&done), serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}")))
    }

    /// The folder of the only run.
    fn results(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.0.path().join("chaos-results")).unwrap();
        let mut folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        folders.next().unwrap()
    }
}

fn code(done: &Output) -> i32 {
    done.status.code().unwrap_or_else(|| panic!("{done:?}"))
}

#[test]
fn a_partition_passes_with_proof_and_can_be_judged_again() {
    let place = Place::new();
    let (exit, runs) = place.run(&place.copy("cut.yaml", &[]));
    assert_eq!(exit, 0, "{runs:#}");
    assert_eq!(runs[0]["verdict"], "PASS", "{runs:#}");
    assert!(runs[0]["faults"][0]["evidence"][0]["acted"].as_u64().unwrap() > 0, "{runs:#}");
    let folder = place.results();
    for (format, stored) in [
        ("terminal", "report.txt"),
        ("json", "report.json"),
        ("markdown", "report.md"),
        ("junit", "junit.xml"),
        ("journal", "journal.json"),
        ("html", "report.html"),
    ] {
        let log = folder.display().to_string();
        let again = place.chaos(&["report", &log, "--format", format]).output().unwrap();
        assert_eq!(code(&again), 0);
        assert_eq!(again.stdout, std::fs::read(folder.join(stored)).unwrap(), "{format}");
    }
}

#[test]
fn a_delay_is_proven_by_what_was_measured() {
    let place = Place::new();
    let slow = place.copy(
        "cut.yaml",
        &[
            (
                "fault: partition, between: [buyer, server]",
                "fault: delay, node: server, direction: to, remote: [buyer], latency: 60ms",
            ),
            ("timeout: 200ms", "timeout: 20s"),
            ("{ type: fails }", "true"),
        ],
    );
    let (code, report) = place.run(&slow);
    assert_eq!(code, 0, "{report:#}");
    let fault = &report[0]["faults"][0];
    let holder = fault["held_by"][0].as_str().unwrap_or_else(|| panic!("{report:#}"));
    assert!(holder.starts_with("netem (") || holder.starts_with("delay line ("), "{holder}");
    let delay = &fault["delays"][0];
    assert_eq!(delay["rule"], fault["evidence"][0]["rule"], "{fault:#}");
    assert!(delay["packets"].as_u64().unwrap() > 0, "{fault:#}");
    for key in ["mean_ns", "p50_ns", "p99_ns"] {
        assert!(delay[key].as_u64().unwrap() >= 59_900_000, "{key}: {fault:#}");
    }
    assert_eq!(delay["least_ns"], 60_000_000, "{fault:#}");
    assert_eq!(delay["counters"]["dropped"], 0, "{fault:#}");
}

#[test]
fn a_partition_that_hits_nothing_is_inconclusive() {
    let place = Place::new();
    let nothing = ("between: [buyer, server]", "between: [buyer, server], remote-ports: [9]");
    let (exit, runs) = place.run(&place.copy("cut.yaml", &[nothing]));
    assert_eq!((exit, &runs[0]["verdict"]), (2, &Value::from("INCONCLUSIVE")), "{runs:#}");
}

#[test]
fn a_partition_that_hits_too_much_fails() {
    let place = Place::new();
    let all = ("between: [buyer, server]", "between: [server, [buyer, vendor]]");
    let longer = ("duration: 1s", "duration: 3s");
    let (exit, runs) = place.run(&place.copy("cut.yaml", &[all, longer]));
    assert_eq!((exit, &runs[0]["verdict"]), (1, &Value::from("FAIL")), "{runs:#}");
    let because = runs[0]["because"].as_str().unwrap();
    assert!(because.starts_with("`vendor-connects` under the fault"), "{because}");
}

/// Which of the twelve questions were refused, and so had not been lost.
fn arrived(seed: &str) -> Vec<bool> {
    let place = Place::new();
    let slow = std::env::var_os("CHAOS_TEST_SLOWNESS").is_some();
    let lasts = if slow { "duration: 8s" } else { "duration: 4s" };
    let experiment = place.copy("coin.yaml", &[("duration: 4s", lasts)]);
    let done = place.chaos(&["run", "--json", "--seed", seed, &experiment]).output().unwrap();
    assert_eq!(code(&done), 0, "{done:?}");
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap();
    let evidence = &runs[0]["faults"][0]["evidence"][0];
    let events = std::fs::read_to_string(place.results().join("events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answers = events.filter_map(|event| {
        let done = &event["event"]["done"];
        let asked = done["name"].as_str().is_some_and(|name| name.starts_with("question-"));
        asked.then(|| done["error"].as_str().unwrap().contains("refused"))
    });
    let arrived: Vec<bool> = answers.collect();
    let lost = arrived.iter().filter(|arrived| !**arrived).count();
    assert_eq!((&evidence["matched"], &evidence["acted"]), (&json!(12), &json!(lost)), "{runs:#}");
    arrived
}

#[test]
fn a_seed_repeats_the_decisions_of_a_run() {
    let seven = arrived("7");
    assert_eq!(seven, arrived("7"));
    assert_ne!(seven, arrived("8"));
}

/// What each client sent, in its order.
fn sent(seed: &str) -> BTreeMap<u64, Vec<String>> {
    let place = Place::new();
    let experiment = place.copy("malformed.yaml", &[]);
    let done = place.chaos(&["run", "--json", "--seed", seed, &experiment]).output().unwrap();
    assert_eq!(code(&done), 0, "{done:?}");
    let events = std::fs::read_to_string(place.results().join("events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut sent: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for operation in events.flat_map(|event| {
        event["event"]["operations"]["operations"].as_array().cloned().unwrap_or_default()
    }) {
        if operation["state"] == "invoke" {
            let payload = operation["payload"].as_str().unwrap().to_owned();
            sent.entry(operation["client"].as_u64().unwrap()).or_default().push(payload);
        }
    }
    sent
}

#[test]
fn a_seed_repeats_the_payloads_of_each_client() {
    let seven = sent("7");
    assert_eq!(seven.values().map(Vec::len).collect::<Vec<_>>(), [27, 27, 26]);
    assert_eq!(seven, sent("7"));
    let eight = sent("8");
    // The first 35 are always the same, the others are made up.
    for (client, payloads) in &seven {
        let same = payloads.iter().zip(&eight[client]).take_while(|(one, other)| one == other);
        assert!((11..=12).contains(&same.count()), "client {client}: {payloads:?}");
    }
}

#[test]
fn requests_at_a_rate_are_sent_and_timed_when_they_are_due() {
    let place = Place::new();
    let (exit, runs) = place.run(&place.copy("stall.yaml", &[]));
    assert_eq!(exit, 0, "{runs:#}");
    let events = std::fs::read_to_string(place.results().join("events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut due = BTreeMap::new();
    let mut late = 0;
    for operation in events.flat_map(|event| {
        event["event"]["operations"]["operations"].as_array().cloned().unwrap_or_default()
    }) {
        let (number, at) = (operation["number"].as_u64(), operation["at"].as_u64().unwrap());
        if operation["state"] == "invoke" {
            due.insert(number, at);
        } else {
            late += u32::from(at - due[&number] > 400_000_000);
        }
    }
    // Those that were due in the first 1.1 s of the stall. A client that waits would see one or two.
    assert!(late >= 15, "{late} of {} waited", due.len());
    let mut times: Vec<u64> = due.into_values().collect();
    times.sort_unstable();
    // By the clock, 50 ms apart, through the stall.
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(50_000_000) < 1_000_000));
}

#[test]
fn processes_are_frozen_killed_and_restarted() {
    let place = Place::new();
    let (exit, runs) = place.run(&place.copy("process.yaml", &[]));
    assert_eq!(exit, 0, "{runs:#}");
    for fault in runs[0]["faults"].as_array().unwrap() {
        assert_eq!(fault["evidence"][0]["acted"], 1, "{fault:#}");
    }
}

#[test]
fn probes_see_processes_logs_and_names() {
    let place = Place::new();
    let (exit, runs) = place.run(&place.copy("probes.yaml", &[]));
    assert_eq!(exit, 0, "{runs:#}");
    let silent = ("fault: kill", "fault: pause");
    let (exit, runs) = place.run(&place.copy("probes.yaml", &[silent]));
    assert_eq!((exit, &runs[0]["verdict"]), (1, &Value::from("FAIL")), "{runs:#}");
    let because = runs[0]["because"].as_str().unwrap();
    assert!(because.starts_with("`is-gone` under the fault"), "{because}");
}

#[test]
fn an_interrupt_heals_and_exits_3() {
    let place = Place::new();
    let long = place.copy("cut.yaml", &[("duration: 1s", "duration: 60s")]);
    let mut run =
        place.chaos(&["run", &long]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let log = place.0.path().join("chaos-results");
        let active = std::fs::read_dir(log).into_iter().flatten().flatten().any(|entry| {
            let text = std::fs::read_to_string(entry.path().join("events.jsonl"));
            text.is_ok_and(|text| text.contains("{\"active\":"))
        });
        if active {
            break;
        }
        assert!(Instant::now() < until, "the fault did not come into force");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(3));
    let report = std::fs::read_to_string(place.results().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let clean = report["judgements"].as_array().unwrap().last().unwrap();
    assert_eq!(clean["status"], "holds", "{report:#}");
}

#[test]
fn bad_files_touch_nothing_and_exit_64() {
    let place = Place::new();
    let unknown = place.copy("cut.yaml", &[("between: [buyer,", "between: [buyr,")]);
    for command in ["run", "validate"] {
        let done = place.chaos(&[command, &unknown]).output().unwrap();
        assert_eq!(code(&done), 64);
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(told.contains("no node `buyr`; did you mean `buyer`?"), "{told}");
    }
    assert!(!place.0.path().join("chaos-results").exists());
    let done = place.chaos(&["run", "partitoin"]).output().unwrap();
    assert_eq!(code(&done), 64);
}

/// A test for each experiment: together they take longer than one test may.
macro_rules! shipped {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { passes(stringify!($test), $name); })*

        const SHIPPED: &[&str] = &[$($name),*];
    };
}

shipped! {
    byzantine_passes: "byzantine",
    cascade_passes: "cascade",
    disk_passes: "disk",
    disputes_passes: "disputes",
    generals_passes: "generals",
    memory_passes: "memory",
    network_passes: "network",
    partition_passes: "partition",
    pool_passes: "pool",
    restart_passes: "restart",
    rpc_passes: "rpc",
}

fn shipped_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

fn passes(test: &str, name: &str) {
    if std::env::var_os("CHAOS_TEST_SLOWNESS").is_some() {
        println!("CHAOS-SKIP {test} real-time");
        return;
    }
    let file = shipped_folder().join(format!("{name}.yaml"));
    let (exit, runs) = Place::new().run(&file.display().to_string());
    assert_eq!((exit, &runs[0]["verdict"]), (0, &Value::from("PASS")), "{runs:#}");
}

#[test]
fn every_experiment_that_is_shipped_is_run_by_a_test() {
    let files = std::fs::read_dir(shipped_folder()).unwrap().map(|entry| entry.unwrap().path());
    let yaml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yaml");
    let mut names: Vec<String> = files
        .filter(yaml)
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, SHIPPED);
}

#[test]
fn runs_are_remembered() {
    let place = Place::new();
    let experiment = |path: &str| {
        format!(
            "{{title: t, method: [], invariants: [{{name: i, tolerance: 0, \
             provider: {{type: process, path: \"{path}\"}}}}]}}"
        )
    };
    for (name, path) in [("good", "true"), ("bad", "false")] {
        std::fs::write(place.0.path().join(format!("{name}.yaml")), experiment(path)).unwrap();
    }
    for _ in 0..2 {
        let done = place.chaos(&["run", "--quiet", "good.yaml", "bad.yaml"]).output().unwrap();
        assert_eq!(code(&done), 1, "{done:?}");
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(told.contains("1 of 2 (50 %)"), "{told}");
    }
    let done = place.chaos(&["history", "--json", "bad"]).output().unwrap();
    let history: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(history["experiments"][0]["verdicts"], serde_json::json!(["FAIL", "FAIL"]));
    assert_eq!(history["runs"].as_array().unwrap().len(), 2, "{history:#}");
    let done = place.chaos(&["history"]).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(told.contains("pass pass") && told.contains("FAIL FAIL"), "{told}");
}

#[test]
fn a_first_experiment_is_written_and_nothing_is_overwritten() {
    let place = Place::new();
    let init =
        ["init", "mine/first.yaml", "--url", "http://127.0.0.1:8080/ok", "--unit", "a.service"];
    let done = place.chaos(&init).output().unwrap();
    assert_eq!(code(&done), 0, "{done:?}");
    let written = || std::fs::read_to_string(place.0.path().join("mine/first.yaml")).unwrap();
    let first = written();
    assert_eq!(code(&place.chaos(&["validate", "mine/first.yaml"]).output().unwrap()), 0);
    let again = ["init", "mine/first.yaml", "--url", "http://other/"];
    let done = place.chaos(&again).output().unwrap();
    assert_eq!(code(&done), 64, "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("is left as it is"), "{done:?}");
    assert_eq!(written(), first);
    for wrong in ["nonsense", "ftp://host/", "unix:/run/x"] {
        let done = place.chaos(&["init", "other.yaml", "--url", wrong]).output().unwrap();
        assert_eq!(code(&done), 64, "{done:?}");
        assert!(!place.0.path().join("other.yaml").exists());
    }
    let done = place.chaos(&["schema"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(schema["$defs"]["provider"]["properties"]["fault"].is_object());
}
