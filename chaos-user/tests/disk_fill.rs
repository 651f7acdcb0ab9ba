//! A filesystem that is filled: what the fault does and leaves, and what the shipped experiment
//! says about the marketplace. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/eventually.rs"]
mod eventually;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;

/// A small filesystem that only this thread and what it starts can see.
struct Disk(TempDir);

impl Disk {
    const SIZE: u64 = 4 << 20;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).unwrap();
        let (path, size) = (folder.path().join("disk"), format!("size={}", Self::SIZE));
        let (kind, options) = (Some("tmpfs"), Some(size.as_str()));
        mount(kind, &path, kind, MsFlags::empty(), options).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn available(&self) -> u64 {
        let stat = statvfs(&self.path()).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.0.path().join("state"))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// An experiment that fills it, or what else is written there.
    fn experiment(&self, keys: &str) -> String {
        let text = format!(
            "title: It is full\nmethod:\n  - name: fill\n    type: action\n    \
             provider: {{ type: chaos, fault: disk-fill, {keys} }}\n"
        );
        let path = self.0.path().join("fill.yaml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn start(&self, keys: &str) -> Child {
        let experiment = self.experiment(keys);
        self.chaos(&["run", &experiment]).stdout(Stdio::null()).spawn().unwrap()
    }

    fn run(&self, keys: &str) -> (i32, Value) {
        let done = self.chaos(&["run", "--json", &self.experiment(keys)]).output().unwrap();
        let code = done.status.code().unwrap();
        (code, serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}")))
    }
}

/// On a thread of its own, whose mounts end with it.
fn apart(test: impl FnOnce() + Send + 'static) {
    let done = thread::spawn(test).join();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_full_disk_stays_full_and_is_given_back() {
    apart(|| {
        let disk = Disk::new();
        fs::write(disk.path().join("old"), vec![1; 1 << 20]).unwrap();
        let mut run = disk.start("path: disk, duration: 60s");
        eventually("full", || disk.available() == 0);
        let mut new = fs::File::create(disk.path().join("new")).unwrap();
        assert_eq!(new.write(b"x").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        // What others free is taken, too.
        fs::remove_file(disk.path().join("old")).unwrap();
        eventually("full again", || disk.available() == 0);
        kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(3));
        assert_eq!(disk.available(), Disk::SIZE);
        new.write_all(b"x").unwrap();
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "only `new`");
    });
}

#[test]
fn a_disk_is_filled_to_a_level_with_proof() {
    apart(|| {
        let disk = Disk::new();
        let bytes = |runs: &Value| runs[0]["faults"][0]["evidence"][0]["bytes"].as_u64().unwrap();
        let (code, runs) = disk.run("path: disk, level: 50%, duration: 100ms");
        assert_eq!((code, bytes(&runs)), (0, Disk::SIZE / 2), "{runs:#}");
        let (code, runs) = disk.run("path: disk, leave: 1MiB, duration: 100ms");
        assert_eq!((code, bytes(&runs)), (0, Disk::SIZE - (1 << 20)), "{runs:#}");
        let (code, runs) = disk.run("path: disk, level: 100%, duration: 100ms");
        assert_eq!((code, bytes(&runs)), (0, Disk::SIZE), "{runs:#}");
        let refused = &runs[0]["faults"][0]["evidence"][1]["acted"];
        assert!(refused.as_u64().unwrap() > 0, "no ENOSPC: {runs:#}");
        // As full as that without it.
        fs::write(disk.path().join("old"), vec![1; 3 << 20]).unwrap();
        let (code, runs) = disk.run("path: disk, level: 75%, duration: 100ms");
        assert_eq!((code, &runs[0]["verdict"]), (2, &Value::from("INCONCLUSIVE")), "{runs:#}");
    });
}

#[test]
fn the_room_comes_back_when_the_tool_is_killed() {
    apart(|| {
        let disk = Disk::new();
        let mut run = disk.start("path: disk, duration: 60s");
        eventually("full", || disk.available() == 0);
        kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGKILL).unwrap();
        run.wait().unwrap();
        eventually("empty again", || disk.available() == Disk::SIZE);
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
        let healed = disk.chaos(&["heal"]).output().unwrap();
        assert_eq!(healed.status.code(), Some(0), "{healed:?}");
    });
}

#[test]
fn what_this_host_depends_on_is_not_filled() {
    apart(|| {
        let disk = Disk::new();
        let because = |keys: &str| {
            let (code, runs) = disk.run(keys);
            (code, runs[0]["because"].as_str().unwrap().to_owned())
        };
        let (code, why) = because("path: /, level: 1%, duration: 1s");
        assert_eq!(code, 64, "{why}");
        assert!(why.contains("filesystem that holds `/`"), "{why}");
        let (_, why) = because("path: /proc, level: 1%, duration: 1s");
        assert!(why.contains("has no size of its own"), "{why}");
        // Where its journal is, and what a run leaves.
        let state = disk.path().join("state");
        let keys = "path: disk, level: 1%, duration: 1s";
        let experiment = disk.experiment(keys);
        for own in ["state", "results"] {
            let (home, output) = if own == "state" {
                (state.clone(), disk.0.path().join("results"))
            } else {
                (disk.0.path().join("state"), disk.path().join("results"))
            };
            let done = disk
                .chaos(&["run", "--json", "--output", output.to_str().unwrap(), &experiment])
                .env("CHAOS_STATE_DIR", home)
                .output()
                .unwrap();
            let runs: Value = serde_json::from_slice(&done.stdout).unwrap();
            let why = runs[0]["because"].as_str().unwrap();
            assert!(why.contains("which is not filled unless `force: true`"), "{own}: {why}");
        }
    });
}

/// What the shipped experiment says, with some of its text replaced.
fn judged(defect: Option<&str>, changes: &[(&str, &str)]) -> (i32, Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let lab = root.join("examples/marketplace/lab-disk.yaml");
    let lab = format!("lab: {}", lab.display());
    let mut text = fs::read_to_string(root.join("experiments/disk.yaml")).unwrap();
    let shorter = [("within: 10s", "within: 3s"), ("duration: 3s", "duration: 2500ms")];
    let lab = [("lab: ../examples/marketplace/lab-disk.yaml", lab.as_str())];
    for (old, new) in lab.iter().chain(&shorter).chain(changes) {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("disk.yaml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command
        .args(["run", "--json", "disk.yaml"])
        .env("CHAOS_STATE_DIR", folder.path().join("state"))
        .current_dir(folder.path())
        .stdin(Stdio::null());
    if let Some(defect) = defect {
        command.env("MARKETPLACE_DEFECTS", defect);
    }
    let done = command.output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.code().unwrap(), runs[0].clone())
}

#[test]
fn each_defect_of_a_full_disk_fails_for_its_reason() {
    if std::env::var_os("CHAOS_TEST_SLOWNESS").is_some() {
        println!("CHAOS-SKIP each_defect_of_a_full_disk_fails_for_its_reason real-time");
        return;
    }
    let (code, run) = judged(None, &[]);
    assert_eq!(code, 0, "{run:#}");
    let (code, run) = judged(None, &[("level: 100%", "level: 1%")]);
    assert_eq!((code, &run["verdict"]), (2, &Value::from("INCONCLUSIVE")), "{run:#}");
    // The expectation that has to be missed, and one that has to be met all the same.
    for (defect, missed, met) in [
        ("corrupt-on-full-disk", "reading-works", "server-is-the-same-process"),
        ("crash-on-full-disk", "server-is-the-same-process", "none"),
        ("no-read-only", "writing-is-refused-with-a-reason", "reading-works"),
        ("read-only-forever", "writing-works", "alert-is-logged"),
        ("no-disk-alert", "alert-is-raised", "writing-is-refused-with-a-reason"),
        ("silent-failure", "alert-is-logged", "alert-is-raised"),
        ("unhelpful-error", "writing-is-refused-with-a-reason", "reading-works"),
    ] {
        let (code, run) = judged(Some(defect), &[]);
        assert_eq!(code, 1, "{defect}: {run:#}");
        let reasons: Vec<&str> = run["judgements"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|judgement| judgement["status"] == "broken")
            .flat_map(|judgement| judgement["reasons"].as_array().unwrap())
            .map(|reason| reason.as_str().unwrap())
            .collect();
        let about = |probe: &str| reasons.iter().any(|why| why.starts_with(&format!("`{probe}`")));
        assert!(about(missed) && !about(met), "{defect}: {reasons:#?}");
    }
}
