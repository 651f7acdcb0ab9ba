//! What a host's policy forbids is not done: `chaos inject` and `chaos run`, as a user types them.
//! Root; nothing is sent anywhere. Also: runs side by side, and the privileges that are kept.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos::host::ProcessId;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    netns: NetNs,
}

impl Place {
    fn new() -> Self {
        let netns = NetNs::anonymous().unwrap();
        netns
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let lo = netlink.link("lo").await.unwrap();
                netlink.set_up(&lo).await.unwrap();
            })
            .unwrap();
        Self { folder: tempfile::tempdir().unwrap(), netns }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, policy: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env("CHAOS_POLICY", policy)
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null());
        command
    }

    /// Runs under a policy: exit code, what it printed, what it complained about.
    fn run(&self, policy: &Path, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(policy, arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn inject(&self, policy: &Path, arguments: &[&str]) -> (i32, String, String) {
        let netns = self.netns.path();
        let common = ["inject", "drop", "--dry-run", "--netns", netns.to_str().unwrap()];
        self.run(policy, &[&common[..], arguments].concat())
    }
}

const APPROVAL: &str = "by: Ada\nticket: OPS-7\nexpires: 2100-01-01T00:00Z\n";

#[test]
fn production_needs_an_approval() {
    let place = Place::new();
    let policy = place.write("policy.yaml", "environment: production\n");
    let approval = place.write("approval.yaml", APPROVAL);
    let (code, _, text) = place.inject(&policy, &["--for", "1s"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("`production` needs an approval"), "{text}");
    let (code, _, text) = place.inject(&policy, &["--for", "1s", "--environment", "staging"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("this host is `production` by its policy"), "{text}");
    let (code, text, error) =
        place.inject(&policy, &["--for", "1s", "--approval", approval.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("approved by Ada (OPS-7) until 2100-01-01"), "{text}");
    assert!(text.contains("blast radius: 1 of 1 hosts"), "{text}");
    // Without a policy, whoever says that it is production means it.
    let nothing = place.write("nothing.yaml", "{}\n");
    let (code, ..) = place.inject(&nothing, &["--for", "1s", "--environment", "production"]);
    assert_eq!(code, 3);
    assert_eq!(place.inject(&nothing, &["--for", "1s"]).0, 0);
    let (code, _, text) = place.inject(&nothing, &["--for", "1s", "--environment", "prod"]);
    assert_eq!(code, 64);
    assert!(text.contains("did you mean `production`"), "{text}");
}

#[test]
fn limits_and_protection_of_a_policy_hold_for_everybody() {
    let place = Place::new();
    let policy = place.write(
        "policy.yaml",
        "always:\n  limits: { duration: 10s, loss: 20%, flows: 50% }\n  protect: [dns]\n",
    );
    let (code, _, text) = place.inject(&policy, &["--for", "11s"]);
    assert_eq!(code, 3, "{text}");
    for reason in ["lasts 11s, and at most 10s", "up to 100%, and at most 20%", "at most 50%"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    let within = ["--for", "10s", "--loss", "20%", "--flows", "50%"];
    let (code, text, error) = place.inject(&policy, &within);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("protect dns"), "{text}");
}

#[test]
fn a_policy_that_others_could_have_written_stops_everything() {
    let place = Place::new();
    let good = place.write("good.yaml", "{}\n");
    assert_eq!(place.inject(&good, &["--for", "1s"]).0, 0);
    let writable = place.write("writable.yaml", "{}\n");
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o666)).unwrap();
    let foreign = place.write("foreign.yaml", "{}\n");
    chown(&foreign, Some(65_534), None).unwrap();
    let link = place.folder.path().join("link.yaml");
    symlink(&good, &link).unwrap();
    let pipe = place.folder.path().join("pipe.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let open = place.folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("policy.yaml"), "{}\n").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let large = place.write("large.yaml", &format!("# {}\n{{}}\n", "x".repeat(2 << 20)));
    let missing = place.folder.path().join("missing.yaml");
    for (policy, why) in [
        (writable, "its mode is 666"),
        (foreign, "belongs to user 65534"),
        (link, "nothing is done without it"),
        (pipe, "not a regular file"),
        (open.join("policy.yaml"), "its mode is 777"),
        (large, "file too large"),
        (missing, "nothing is done without it"),
        (place.write("typo.yaml", "environmet: staging\n"), "typo.yaml:1:1: unknown key"),
    ] {
        let (code, _, text) = place.inject(&policy, &["--for", "1s"]);
        assert_eq!(code, 64, "{text}");
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[test]
fn a_run_that_is_not_allowed_leaves_a_report_that_says_so() {
    let place = Place::new();
    let experiment = place.write(
        "cut.yaml",
        "title: Cut\nenvironment: production\nmethod:\n  - { name: cut, type: action, provider: \
         { type: chaos, fault: drop, remote: [192.0.2.1], duration: 1s } }\n",
    );
    let nothing = place.write("nothing.yaml", "{}\n");
    let results = place.folder.path().join("results");
    let arguments =
        ["run", "--json", "--output", results.to_str().unwrap(), experiment.to_str().unwrap()];
    let (code, text, error) = place.run(&nothing, &arguments);
    assert_eq!(code, 3, "{error}");
    let findings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(findings[0]["verdict"], "ABORTED");
    assert!(findings[0]["because"].as_str().unwrap().contains("needs an approval"), "{text}");
    // The history lies beside the run's folder.
    let mut beside = fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().path());
    let folder = beside.find(|path| path.is_dir()).unwrap();
    let log = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(log.contains("\"refused\"") && !log.contains("\"arming\""), "{log}");
    assert!(!place.folder.path().join("state").exists(), "nothing was touched");
}

/// A fault in force, healed when dropped.
struct Injecting(Child);

impl Injecting {
    /// Its working directory, which is also where programs are looked for, is that of the test.
    fn start(place: &Place, policy: &Path, arguments: &[&str]) -> Self {
        let netns = place.netns.path();
        let common = ["inject", "drop", "--netns", netns.to_str().unwrap(), "--for", "10m"];
        let child = place
            .command(policy, &[&common[..], arguments].concat())
            .env("PATH", place.folder.path())
            .current_dir(place.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let injecting = Self(child);
        let until = Instant::now() + Duration::from_mins(2);
        let own = format!("inject-{}", injecting.0.id());
        loop {
            let look = Instant::now();
            if place.run(policy, &["status"]).1.contains(&own) {
                break;
            }
            assert!(Instant::now() < until, "the fault did not come into force");
            // Emulated processors would do little else.
            std::thread::sleep((look.elapsed() * 3).max(Duration::from_millis(50)));
        }
        injecting
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Injecting {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn runs_keep_each_other_out_unless_they_compose_and_the_dead_keep_nobody_out() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let netns = place.netns.path();
    let short = ["inject", "drop", "--netns", netns.to_str().unwrap(), "--for", "100ms"];
    let alone = [&short[..], &["--exclusive"]].concat();

    let mut first = Injecting::start(&place, &nothing, &["--remote", "192.0.2.1"]);
    // Injections compose: this one hits nothing, and says so.
    let (code, _, text) = place.run(&nothing, &short);
    assert_eq!(code, 2, "{text}");
    let (code, _, text) = place.run(&nothing, &alone);
    assert_eq!(code, 3, "{text}");
    let holder = format!("process {} (`", first.0.id());
    assert!(text.contains(&holder) && text.contains("inject drop"), "{text}");
    assert!(text.contains("since 20"), "{text}");
    // Another namespace is another scope.
    let other = Place::new();
    let elsewhere = other.netns.path();
    let mut arguments = alone.clone();
    arguments[3] = elsewhere.to_str().unwrap();
    assert_eq!(place.run(&nothing, &arguments).0, 2);
    // However it dies.
    first.end(Signal::SIGKILL);
    let (code, _, text) = place.run(&nothing, &alone);
    assert_eq!(code, 2, "{text}");
}

/// Effective capabilities of every thread.
fn capabilities(pid: u32) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .filter_map(|thread| {
            // A thread may end while it is looked at.
            let status = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
            Some(u64::from_str_radix(line.trim(), 16).unwrap())
        })
        .collect()
}

const DAC_OVERRIDE: u64 = 1 << 1;
const NET_ADMIN: u64 = 1 << 12;
const SYS_MODULE: u64 = 1 << 16;
const SYS_RAWIO: u64 = 1 << 17;
const SYS_BOOT: u64 = 1 << 22;
const AUDIT_CONTROL: u64 = 1 << 30;
const MAC_ADMIN: u64 = 1 << 33;

#[test]
fn capabilities_that_no_fault_needs_are_given_up() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let injecting = Injecting::start(&place, &nothing, &["--remote", "192.0.2.1"]);
    let given_up = SYS_MODULE | SYS_RAWIO | SYS_BOOT | AUDIT_CONTROL | MAC_ADMIN;
    for thread in capabilities(injecting.0.id()) {
        assert_eq!(thread & given_up, 0, "{thread:x}");
        assert_ne!(thread & NET_ADMIN, 0, "{thread:x}: needed to heal");
    }
}

#[test]
fn no_program_is_looked_for_in_the_path() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let planted = place.folder.path().join("planted");
    for name in ["chaos", "tc", "ip", "nft", "iptables", "modprobe", "systemctl", "docker", "sh"] {
        let trap = place.write(name, &format!("#!/bin/sh\n: > {}\n", planted.display()));
        fs::set_permissions(trap, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut injecting = Injecting::start(&place, &nothing, &[]);
    let run = ProcessId::of(injecting.0.id()).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_chaos")).canonicalize().unwrap();
    let processes = run.with_descendants();
    assert!(processes.len() >= 2, "its guardian is one of them: {processes:?}");
    for process in processes {
        let runs = fs::read_link(format!("/proc/{}/exe", process.pid)).unwrap();
        assert_eq!(runs, program);
    }
    injecting.end(Signal::SIGTERM);
    assert!(!planted.exists(), "a program of the folder was run");
}

#[test]
fn a_command_that_only_reads_keeps_no_power_over_the_kernel() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let log = place.folder.path().join("events.jsonl");
    nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // It waits for somebody to write the log.
    let mut reading = place
        .command(&nothing, &["report", log.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    let dropped = |threads: Vec<u64>| threads.iter().all(|thread| thread & NET_ADMIN == 0);
    while !dropped(capabilities(reading.id())) {
        assert!(Instant::now() < until, "{:x?}", capabilities(reading.id()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = capabilities(reading.id());
    reading.kill().unwrap();
    reading.wait().unwrap();
    let allowed = DAC_OVERRIDE | 1 << 2;
    assert!(left.iter().all(|thread| thread & !allowed == 0), "{left:x?}");
}

#[test]
fn input_without_an_end_is_refused() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let large = place.write("large.yaml", &"# x\n".repeat(1 << 19));
    let (code, text, error) = place.run(&nothing, &["validate", large.to_str().unwrap()]);
    assert_eq!(code, 64, "{text}{error}");
    assert!(format!("{text}{error}").contains("file too large"), "{text}{error}");
}

#[test]
fn nothing_that_a_user_supplies_reaches_a_shell() {
    let place = Place::new();
    let nothing = place.write("nothing.yaml", "{}\n");
    let planted = place.folder.path().join("planted");
    let evil = format!(
        "$(touch {0}) `touch {0}` ; touch {0} && touch {0} | tee {0} > {0}",
        planted.display()
    );
    let experiment = serde_json::json!({
        "title": "t",
        "configuration": { "value": evil },
        "method": [
            { "name": "line", "type": "probe", "tolerance": { "type": "regex", "target": "stdout", "pattern": "touch" },
              "provider": { "type": "process", "path": "echo", "arguments": evil } },
            { "name": "filled", "type": "probe", "tolerance": { "type": "regex", "target": "stdout", "pattern": "touch" },
              "provider": { "type": "process", "path": "echo", "arguments": ["${value}"] } },
        ],
    });
    let file = place.write("evil.json", &experiment.to_string());
    let results = place.folder.path().join("results");
    let arguments =
        ["run", "--json", "--output", results.to_str().unwrap(), file.to_str().unwrap()];
    let (code, text, error) = place.run(&nothing, &arguments);
    assert_eq!(code, 0, "{text}{error}");
    assert!(!planted.exists(), "a shell has run it");
}
