//! Units that are stopped, killed, paused and restarted, with a real systemd. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/eventually.rs"]
mod eventually;
mod systemd;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::eventually::eventually;
use crate::systemd::under_systemd;

/// The service, one that cannot be without it, and one that comes back by itself.
const UNITS: [(&str, &str); 4] = [
    ("shop.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n"),
    (
        "till.service",
        "[Unit]\nDefaultDependencies=no\nBindsTo=shop.service\nAfter=shop.service\n\
         [Service]\nExecStart=/bin/sleep 1000\n",
    ),
    (
        "phoenix.service",
        "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n\
         [Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=50ms\n",
    ),
    ("idle.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n"),
];

fn chaos(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(arguments).env_remove("SSH_CONNECTION").stdin(Stdio::null());
    command
}

fn systemctl(arguments: &[&str]) -> String {
    let done = Command::new("systemctl").args(arguments).output().unwrap();
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "--property", name, unit])
}

fn active(unit: &str) -> bool {
    systemctl(&["is-active", unit]) == "active"
}

/// Runs an experiment about the unit `shop` with a probe that has to hold under the fault.
fn run(fault: &str, during: &str) -> (i32, Value) {
    let text = format!(
        "title: The shop is gone for a while
target: {{ unit: shop }}
steady-state-hypothesis:
  title: It runs
  probes:
    - name: runs
      during: [before, after]
      provider: {{ type: unit }}
      tolerance: {{ type: jsonpath, path: $.running, expect: true }}
    - name: under-the-fault
      during: fault
      within: 2s
      provider: {{ type: unit }}
      tolerance: {{ type: jsonpath, path: {during} }}
method:
  - {{ name: outage, type: action, provider: {{ type: chaos, {fault} }} }}
recovery: {{ within: 10s, stable: 100ms }}
"
    );
    fs::write("shop.yaml", text).unwrap();
    let done = chaos(&["run", "--json", "shop.yaml"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.code().unwrap(), runs[0].clone())
}

/// An experiment without a steady state; the exit code and the reason for the verdict.
fn bare(fault: &str) -> (i32, String) {
    let provider = format!("{{ type: chaos, {fault} }}");
    let text =
        format!("title: t\nmethod:\n  - {{ name: f, type: action, provider: {provider} }}\n");
    fs::write("bare.yaml", text).unwrap();
    let done = chaos(&["run", "--json", "bare.yaml"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.code().unwrap(), runs[0]["because"].as_str().unwrap().to_owned())
}

/// An experiment with a unit that has to run in the end, where something is started.
fn repaired(rest: &str) -> (i32, Value) {
    let runs = "provider: { type: procfs }
      tolerance:
        type: all
        of:
          - { type: jsonpath, path: $.running, expect: true }
          - { type: number, target: rss, at-least: 10kB }
          - { type: number, target: fds, at-least: 1 }";
    let text = format!(
        "title: The shop is down and is started
target: {{ unit: shop }}
method:
  - {{ name: f, type: action, provider: {{ type: chaos, fault: restart, unit: phoenix }} }}
{}",
        rest.replace("RUNS", runs).replace("START", "provider: { type: chaos, fault: start }")
    );
    fs::write("start.yaml", text).unwrap();
    let done = chaos(&["run", "--json", "start.yaml"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.code().unwrap(), runs[0].clone())
}

/// Starts what runs in the tests.
fn start_all() {
    systemctl(&["start", "shop.service", "till.service", "phoenix.service"]);
    assert!(active("shop.service") && active("till.service") && active("phoenix.service"));
}

#[test]
fn units_are_stopped_killed_paused_and_restarted() {
    let name = "units_are_stopped_killed_paused_and_restarted";
    under_systemd(name, &UNITS, || {
        start_all();
        for (act, during) in [
            ("stop", "$.active, expect: inactive"),
            ("kill", "$.result, expect: signal"),
            ("pause", "$.paused, expect: true"),
        ] {
            let (code, seen) = run(&format!("fault: {act}, duration: 600ms"), during);
            assert_eq!(code, 0, "{act}: {seen:#}");
            assert_eq!(seen["faults"][0]["evidence"][0]["acted"], 1, "{act}: {seen:#}");
            // What went down with it runs again, too, and nothing else does.
            assert!(active("shop.service") && active("till.service"), "{act}");
            assert!(!active("idle.service"), "{act}");
        }
        let before = property("shop.service", "MainPID");
        assert_eq!(bare("fault: restart, unit: shop.service").0, 0);
        assert_ne!(property("shop.service", "MainPID"), before);
        // What a rollback, or a person, does about a unit that is down.
        systemctl(&["stop", "shop.service"]);
        let (code, seen) = repaired(
            "rollbacks:\n  - { name: start, START }\ninvariants:\n    - name: runs\n      RUNS\n",
        );
        assert_eq!(code, 0, "{seen:#}");
        assert!(active("shop.service") && !active("idle.service"));
        systemctl(&["stop", "shop.service"]);
        let (code, seen) = repaired(
            "steady-state-hypothesis:\n  title: t\n  probes:\n    - name: runs\n      during: after\n      \
             RUNS\nrecovery:\n  within: 300ms\n  stable: 50ms\n  steps: [{ name: start, START }]\n",
        );
        // It did not recover by itself, but it did with that step.
        assert_eq!(code, 1, "{seen:#}");
        let because = seen["because"].as_str().unwrap();
        assert!(because.contains("1 manual step"), "{because}");
        assert!(active("shop.service"));
        systemctl(&["start", "till.service"]);
        // systemd starts it again by itself: the fault acted, and there is nothing to undo.
        let before = property("phoenix.service", "MainPID");
        assert_eq!(bare("fault: kill, unit: phoenix, duration: 300ms").0, 0);
        assert_ne!(property("phoenix.service", "MainPID"), before);
        assert_ne!(property("phoenix.service", "NRestarts"), "0");
    });
}

#[test]
fn units_that_cannot_be_disturbed_are_told() {
    let name = "units_that_cannot_be_disturbed_are_told";
    under_systemd(name, &UNITS, || {
        start_all();
        let (code, why) = bare("fault: stop, unit: idle, duration: 50ms");
        assert_eq!(code, 2, "{why}");
        assert!(!active("idle.service"));
        let (code, why) = bare("fault: kill, unit: shup, duration: 50ms");
        assert_eq!((code, why.as_str()), (64, "there is no unit `shup.service` on this host"));
        let (code, why) = bare("fault: stop, unit: chaos-test, duration: 50ms");
        let own = "the unit chaos-test.service is not touched: this tool runs in it";
        assert_eq!((code, why.as_str()), (64, own));
        let (code, why) = bare("fault: kill, unit: dbus, duration: 50ms");
        assert!(code == 64 && why.contains("takes the system bus, which it carries"), "{why}");
        // Its selectors know units by their cgroups.
        let mut command = chaos(&["inject", "drop", "--unit", "shop", "--for", "1s", "--dry-run"]);
        let done = command.output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(said.contains("/system.slice/shop.service"), "{said}");
        let done = chaos(&["inject", "drop", "--unit", "idle", "--for", "1s"]).output().unwrap();
        assert_eq!(done.status.code(), Some(64), "{done:?}");
    });
}

#[test]
fn units_run_again_after_the_tool_was_killed() {
    let name = "units_run_again_after_the_tool_was_killed";
    let packaged = include_str!("../../../packaging/chaos-heal.service");
    let state = "/run/chaos-state";
    let program = env!("CARGO_BIN_EXE_chaos");
    let heal = packaged
        .replace("/usr/local/bin/chaos", program)
        .replace("/var/lib/chaos", state)
        .replace("[Service]\n", &format!("[Service]\nEnvironment=CHAOS_STATE_DIR={state}\n"));
    assert!(heal.contains(&format!("ExecStart={program} heal --leave-live")), "{heal}");
    let units: Vec<(&str, &str)> =
        UNITS.into_iter().chain([("chaos-heal.service", heal.as_str())]).collect();
    under_systemd(name, &units, || {
        start_all();
        fs::write(
            "stop.yaml",
            "title: t\nmethod:\n  - { name: f, type: action, provider: { type: chaos, \
             fault: stop, unit: shop, duration: 60s } }\n",
        )
        .unwrap();
        let mut command = chaos(&["run", "stop.yaml"]);
        let mut run = command.env("CHAOS_STATE_DIR", state).stdout(Stdio::null()).spawn().unwrap();
        eventually("stopped", || !active("shop.service") && !active("till.service"));
        run.kill().unwrap();
        run.wait().unwrap();
        // As a boot or its timer would. Its guardian may be there first, or still be at work.
        eventually("running again", || {
            systemctl(&["start", "chaos-heal.service"]);
            assert_eq!(property("chaos-heal.service", "Result"), "success");
            active("shop.service") && active("till.service")
        });
    });
}
