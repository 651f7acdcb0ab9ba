//! `chaos lab`, as a user types it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use chaos::kernel::netns::NetNs;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{alone, eventually, exchange, held};

/// Two nodes, one of them with a process that leaves a daemon behind.
const FILE: &str = "
name: typed
networks: { net: }
nodes:
  a: { networks: [net] }
  b:
    networks: [net]
    processes:
      - { name: p, command: [sh, -c, 'setsid sleep 300 & exec sleep 300'] }
";

/// A place for labs that no other test and no real lab shares.
struct Place {
    folder: TempDir,
    file: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    fn new(text: &str) -> Self {
        // The children of these tests would puzzle those that count children.
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, text).unwrap();
        Self { folder, file, _alone: alone }
    }

    fn labs(&self) -> PathBuf {
        self.folder.path().join("run/labs")
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command.arg("lab").args(arguments).env("CHAOS_STATE_DIR", self.folder.path().join("run"));
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.chaos(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    fn up(&self) -> Value {
        self.good(&["up", self.file.to_str().unwrap()]);
        self.list()
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.good(&["list", "--json"])).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // So that a failed test leaves nothing either.
        let (_, labs, _) = self.run(&["list", "--json"]);
        let labs: Value = serde_json::from_str(&labs).unwrap_or_default();
        for lab in labs.as_array().into_iter().flatten() {
            let _ = self.run(&["down", lab["name"].as_str().unwrap_or_default()]);
        }
    }
}

/// Every process of the host that lives in one of these namespaces.
fn inhabitants(inodes: &BTreeSet<u64>) -> Vec<String> {
    let link = |ns: String| std::fs::read_link(ns).ok().map(|to| to.display().to_string());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.parse::<u32>().is_ok())
        .filter(|pid| {
            link(format!("/proc/{pid}/ns/net"))
                .is_some_and(|to| inodes.iter().any(|inode| to == format!("net:[{inode}]")))
        })
        .collect()
}

fn inodes(labs: &Value) -> BTreeSet<u64> {
    let nodes = labs[0]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["inode"].as_u64().unwrap()).collect()
}

#[test]
fn a_lab_is_brought_up_listed_used_and_taken_down() {
    let place = Place::new(FILE);
    let links = held();
    let text = place.good(&["up", place.file.to_str().unwrap()]);
    for expected in ["lab typed", "10.77.1.1/24 fd77:1::1/64", "b/p", "b.p.log", "/proc/"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let labs = place.list();
    let nodes = &labs[0]["nodes"];
    let netns = |at: usize| NetNs::parse(nodes[at]["netns"].as_str().unwrap()).unwrap();
    exchange(&netns(0), &netns(1), "10.77.1.2".parse().unwrap());
    exchange(&netns(0), &netns(1), "fd77:1::2".parse().unwrap());

    let output = place.good(&["exec", "a", "--", "getent", "hosts", "b"]);
    assert!(output.contains("10.77.1.2") || output.contains("fd77:1::2"), "{output}");
    let output = place.good(&["exec", "b", "--lab", "typed", "--", "ls", "/sys/class/net"]);
    assert_eq!(output, "eth0\nlo\n");

    assert_eq!(place.run(&["exec", "a", "--", "sh", "-c", "exit 42"]).0, Some(42));
    assert_eq!(place.run(&["exec", "a", "--", "sh", "-c", "kill -9 $$"]).0, Some(137));
    let (code, _, error) = place.run(&["exec", "aa", "--", "true"]);
    assert_eq!(code, Some(64));
    assert_eq!(error, "chaos: lab \"typed\" has no node \"aa\"; did you mean \"a\"?\n");

    let (code, _, error) = place.run(&["up", place.file.to_str().unwrap()]);
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains("lab \"typed\" is already up"), "{error}");

    assert_eq!(place.good(&["down"]), "lab typed is down\n");
    assert!(!place.labs().join("typed").exists());
    eventually("nobody is left", || inhabitants(&inodes(&labs)).is_empty());
    assert_eq!(place.run(&["down"]).0, Some(64));
    assert_eq!(place.good(&["list"]), "no lab is up\n");
    assert_eq!(held(), links);
}

#[test]
fn the_folder_of_a_lab_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new(FILE);
    place.up();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.labs().join("typed")), 0o700);
    assert_eq!(mode(&place.labs().join("typed/lab.json")), 0o600);
}

#[test]
fn two_of_a_kind_can_be_up_under_two_names() {
    let place = Place::new(FILE);
    let file = place.file.to_str().unwrap();
    place.good(&["up", file]);
    place.good(&["up", file, "--name", "other"]);
    let (code, _, error) = place.run(&["exec", "a", "--", "true"]);
    assert_eq!(code, Some(64));
    assert_eq!(error, "chaos: 2 labs are up; say which one: other, typed\n");
    place.good(&["exec", "a", "--lab", "other", "--", "true"]);
    place.good(&["down", "other"]);
    place.good(&["exec", "a", "--", "true"]);
}

#[test]
fn a_killed_supervisor_takes_everything_with_it() {
    let place = Place::new(FILE);
    let before = held();
    let labs = place.up();
    let inodes = inodes(&labs);
    let supervisor = labs[0]["supervisor"].as_i64().unwrap() as i32;
    // The process, its daemon, and a command of somebody else.
    let mut command = place.chaos(&["exec", "a", "--", "sleep", "300"]).spawn().unwrap();
    eventually("all are there", || inhabitants(&inodes).len() >= 3);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::SIGKILL)
        .unwrap();
    eventually("nobody is left", || inhabitants(&inodes).is_empty());
    assert_eq!(command.wait().unwrap().code(), Some(137));
    eventually("the supervisor is gone", || {
        !Path::new(&format!("/proc/{supervisor}/fd/0")).exists()
    });
    assert_eq!(place.list(), serde_json::json!([]));
    assert!(!place.labs().join("typed").exists(), "what the dead lab left is removed");
    assert_eq!(held(), before);
    place.up();
    place.good(&["down"]);
}

#[test]
fn a_bad_file_is_told_with_its_place() {
    let place = Place::new("name: bad\nnodes:\n  a: { netwroks: [] }\n");
    let (code, _, error) = place.run(&["up", place.file.to_str().unwrap()]);
    assert_eq!(code, Some(64));
    let file = place.file.display();
    assert_eq!(
        error,
        format!("chaos: {file}:3:8: unknown field \"netwroks\"; did you mean \"networks\"?\n")
    );
}

const FAILING: &str = "{name: failing, nodes: {a: {processes: [{name: p, command: [sh, -c, 'echo why; exit 9'], ready: {tcp: 'a:1'}}]}}}";

#[test]
fn a_lab_that_fails_leaves_nothing_unless_it_is_kept() {
    let place = Place::new(FAILING);
    let file = place.file.to_str().unwrap();
    let (code, _, error) = place.run(&["up", file]);
    assert_eq!(code, Some(5), "{error}");
    assert!(error.contains("ended with exit code 9 before it was ready"), "{error}");
    assert!(error.contains("why"), "{error}");
    assert!(!place.labs().join("failing").exists());

    let (code, table, error) = place.run(&["up", file, "--keep"]);
    assert_eq!(code, Some(5), "{error}");
    assert!(error.contains("`chaos lab down failing` ends it"), "{error}");
    assert!(table.contains("kept after a failure"), "{table}");
    place.good(&["exec", "a", "--", "true"]);
    place.good(&["down", "failing"]);
}

#[test]
fn an_interrupted_start_leaves_nothing() {
    let slow = "{name: slow, nodes: {a: {processes: [{name: p, command: [sleep, '300'], ready: {tcp: 'localhost:1', within: 60s}}]}}}";
    let place = Place::new(slow);
    let mut up = place.chaos(&["up", place.file.to_str().unwrap()]).spawn().unwrap();
    let log = place.labs().join("slow/files/log/a.p.log");
    eventually("the process runs", || log.exists());
    std::thread::sleep(Duration::from_millis(100));
    let pid = nix::unistd::Pid::from_raw(up.id().cast_signed());
    let begin = Instant::now();
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(3));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(place.list(), serde_json::json!([]));
    assert!(!place.labs().join("slow").exists());
}
