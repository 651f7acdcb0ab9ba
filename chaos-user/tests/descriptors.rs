//! Processes that run out of file descriptors. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chaos::fault::{DescriptorsUndo, Undo as _, Undone};
use chaos::host::{DescriptorLimit, ProcessId};
use serde_json::Value;
use tempfile::TempDir;

/// Says to this program that it is the one that opens files, and where to tell.
const OPENER: &str = "CHAOS_TEST_OPENER";

/// A process that opens a file again and again, and writes down how that went.
struct Opener {
    folder: TempDir,
    child: Child,
}

impl Opener {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["opens_files_when_told_to", "--exact", "--test-threads=1"])
            .env(OPENER, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        fs::write(folder.path().join("pid"), child.id().to_string()).unwrap();
        let opener = Self { folder, child };
        opener.eventually("files are opened", |log| log.contains("opened"));
        opener
    }

    fn process(&self) -> ProcessId {
        ProcessId::of(self.child.id()).unwrap()
    }

    fn limit(&self) -> DescriptorLimit {
        DescriptorLimit::of(self.process()).unwrap()
    }

    fn eventually(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let log = self.folder.path().join("log");
        let until = Instant::now() + Duration::from_mins(1);
        while !holds(&fs::read_to_string(&log).unwrap_or_default()) {
            assert!(Instant::now() < until, "it never came true: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Writes an experiment in which files can be opened before and after the fault.
    fn experiment(&self, fault: &str, during: &str) {
        let probe = |name: &str, when: &str, pattern: &str| {
            format!(
                "    - name: {name}\n      during: {when}\n      within: 5s\n      provider: \
                 {{ type: log, path: log, pattern: {pattern} }}\n      tolerance: \
                 {{ type: number, target: count, at-least: 1 }}\n"
            )
        };
        let text = format!(
            "title: Nothing can be opened\ntarget: {{ pid-file: pid }}\n\
             steady-state-hypothesis:\n  title: It works\n  probes:\n{}{}method:\n  - {{ name: \
             full, type: action, provider: {{ type: chaos, fault: fd-exhaustion, {fault} }} }}\n\
             recovery: {{ within: 20s, stable: 100ms }}\n",
            probe("opens-files", "[before, after]", "opened"),
            probe("under-the-fault", "fault", during),
        );
        fs::write(self.folder.path().join("full.yaml"), text).unwrap();
    }

    fn run(&self, fault: &str, during: &str) -> (Option<i32>, Value) {
        self.experiment(fault, during);
        let done = self.chaos(&["run", "--json", "full.yaml"]).output().unwrap();
        let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
        (done.status.code(), runs[0].clone())
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test by itself.
#[test]
fn opens_files_when_told_to() {
    let Some(folder) = std::env::var_os(OPENER) else { return };
    let mut log = File::create(Path::new(&folder).join("log")).unwrap();
    loop {
        match File::open("/dev/null") {
            Ok(_file) => log.write_all(b"opened\n").unwrap(),
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                log.write_all(b"EMFILE\n").unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_can_open_nothing_and_can_again() {
    let opener = Opener::start();
    let before = opener.limit();
    let (code, run) = opener.run("duration: 1s", "EMFILE");
    assert_eq!(code, Some(0), "{run:#}");
    let evidence = &run["faults"][0]["evidence"][0];
    assert!(evidence["acted"].as_u64().unwrap() > 0, "{run:#}");
    assert_eq!(opener.limit(), before);
}

#[test]
fn room_that_is_never_used_up_is_no_fault() {
    let opener = Opener::start();
    let before = opener.limit();
    let (code, run) = opener.run("duration: 500ms, spare: 9", "opened");
    assert_eq!(code, Some(2), "{run:#}");
    let evidence = &run["faults"][0]["evidence"][0];
    assert!(evidence["matched"].as_u64().unwrap() > 0 && evidence["acted"] == 0, "{run:#}");
    assert_eq!(opener.limit(), before);
}

#[test]
fn the_limit_comes_back_when_the_tool_is_killed() {
    let opener = Opener::start();
    let before = opener.limit();
    opener.experiment("duration: 60s", "EMFILE");
    let mut command = opener.chaos(&["run", "full.yaml"]);
    let mut run = command.stdout(Stdio::null()).spawn().unwrap();
    opener.eventually("nothing can be opened", |log| log.contains("EMFILE"));
    let status = opener.chaos(&["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let also = status["runs"][0]["also"].to_string();
    assert!(also.contains("to be put back: the limit of open files"), "{status:#}");
    run.kill().unwrap();
    run.wait().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while opener.limit() != before {
        assert!(Instant::now() < until, "the limit stays at {:?}", opener.limit());
        let healed = opener.chaos(&["heal"]).output().unwrap();
        assert_eq!(healed.status.code(), Some(0), "{healed:?}");
    }
    opener.eventually("files are opened again", |log| log.trim_end().ends_with("opened"));
}

#[test]
fn undoing_touches_no_other_process_and_no_other_limit() {
    let opener = Opener::start();
    let (process, before) = (opener.process(), opener.limit());
    let undo = |process| DescriptorsUndo { process, name: "it".into(), before, ours: 7 };
    let mine = undo(process);
    mine.lowered().set(process).unwrap();
    // A process that had the number earlier is not this one.
    let earlier = ProcessId { started: process.started - 1, ..process };
    assert_eq!(undo(earlier).undo().unwrap(), Undone::Nothing);
    assert_eq!(opener.limit(), mine.lowered());
    // Somebody else has set another limit since.
    let theirs = DescriptorLimit { soft: Some(8), ..before };
    theirs.set(process).unwrap();
    assert_eq!(mine.undo().unwrap(), Undone::Nothing);
    assert_eq!(opener.limit(), theirs);
    mine.lowered().set(process).unwrap();
    assert!(matches!(mine.undo().unwrap(), Undone::Restored(_)));
    assert_eq!(mine.undo().unwrap(), Undone::Nothing);
    assert_eq!(opener.limit(), before);
}
