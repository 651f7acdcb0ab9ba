//! Cgroups that get less CPU time, memory or disk than they want: that they do, that it shows in what
//! the kernel counts, and that the limits are as before. Root, and a cgroup v2 with these controllers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/eventually.rs"]
mod eventually;

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chaos::host::Cgroups;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;

/// Says to this program that it is the one that wants something, and what.
const HUNGRY: &str = "CHAOS_TEST_HUNGRY";
/// A disk of its own.
const RAMDISK: &str = "/dev/ram0";

/// A cgroup with a process in it that wants all it can get of something.
struct Bed {
    folder: TempDir,
    cgroup: PathBuf,
    processes: Vec<Child>,
}

impl Bed {
    /// `None`, with the reason told, where cgroups cannot be limited.
    fn new(test: &str, hungry_for: &str) -> Option<Self> {
        let cgroups = Cgroups::find().unwrap();
        let cgroup = cgroups.root().join(format!("chaos-{}-{test}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        let bed = Self { folder: tempfile::tempdir().unwrap(), cgroup, processes: Vec::new() };
        if ["cpu.max", "memory.high", "io.max"].iter().any(|file| !bed.cgroup.join(file).exists()) {
            println!("CHAOS-SKIP {test} cgroup-limits");
            return None;
        }
        Some(bed.with(hungry_for))
    }

    fn with(mut self, hungry_for: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["is_hungry_when_told_to", "--exact", "--test-threads=1"])
            .env(HUNGRY, hungry_for)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        fs::write(self.cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        fs::write(self.folder.path().join("pid"), child.id().to_string()).unwrap();
        self.processes.push(child);
        self
    }

    fn limit(&self, file: &str) -> String {
        fs::read_to_string(self.cgroup.join(file)).unwrap().trim().to_owned()
    }

    /// Runs it to its end.
    fn judged(&self, keys: &str) -> (Option<i32>, Value) {
        let done = run(self.folder.path(), keys).output().unwrap();
        (done.status.code(), first(&done))
    }

    /// The keys of a fault of this cgroup.
    fn keys(&self, fault: &str) -> String {
        format!("cgroup: {}, {fault}", self.cgroup.display())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The kernel takes a moment to see that it is empty.
        let until = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.cgroup).is_err() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn chaos(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command
        .args(arguments)
        .env("CHAOS_STATE_DIR", folder.join("state"))
        .env_remove("SSH_CONNECTION")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A run of one fault.
fn run(folder: &Path, keys: &str) -> Command {
    let text = format!(
        "title: It is short of something\nmethod:\n  - name: squeeze\n    type: action\n    \
         provider: {{ type: chaos, {keys} }}\n"
    );
    fs::write(folder.join("squeeze.yaml"), text).unwrap();
    chaos(folder, &["run", "--json", "squeeze.yaml"])
}

fn first(done: &Output) -> Value {
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    runs[0].clone()
}

fn evidence(run: &Value, key: &str) -> u64 {
    run["faults"][0]["evidence"][0][key].as_u64().unwrap_or_else(|| panic!("{run:#}"))
}

/// Not a test by itself.
#[test]
fn is_hungry_when_told_to() {
    match std::env::var(HUNGRY).as_deref() {
        Ok("cpu") => loop {
            black_box(0);
        },
        Ok("memory") => loop {
            black_box(vec![1_u8; 32 << 20]);
        },
        Ok("disk") => reads_for_ever(),
        Ok(_) => loop {
            thread::sleep(Duration::from_secs(1));
        },
        Err(_) => {}
    }
}

/// Past every cache.
fn reads_for_ever() {
    const BLOCK: usize = 64 << 10;
    const PAGE: usize = 4096;
    let disk = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(RAMDISK).unwrap();
    let mut room = vec![0; BLOCK + PAGE];
    let aligned = room.as_ptr().align_offset(PAGE);
    for block in (0..16).cycle() {
        disk.read_exact_at(&mut room[aligned..aligned + BLOCK], block * BLOCK as u64).unwrap();
    }
}

#[test]
fn a_process_gets_no_more_cpu_time_than_it_may() {
    let test = "a_process_gets_no_more_cpu_time_than_it_may";
    let Some(bed) = Bed::new(test, "cpu") else { return };
    let before = bed.limit("cpu.max");
    let (code, run) = bed.judged("fault: cpu-pressure, pid-file: pid, cpus: 0.2, duration: 1s");
    assert_eq!(code, Some(0), "{run:#}");
    let (seen, matched, acted) =
        (evidence(&run, "seen"), evidence(&run, "matched"), evidence(&run, "acted"));
    assert!(acted > 0 && acted <= matched && matched <= seen, "{run:#}");
    assert_eq!(bed.limit("cpu.max"), before);
    // With somebody else in the cgroup, it is not only this process that would be hit.
    let bed = bed.with("nothing");
    let (code, run) = bed.judged("fault: cpu-pressure, pid-file: pid, cpus: 0.2, duration: 1s");
    assert_eq!(code, Some(64), "{run:#}");
    let why = run["because"].as_str().unwrap();
    assert!(why.contains("shares the cgroup"), "{why}");
    assert_eq!(bed.limit("cpu.max"), before);
}

#[test]
fn memory_is_taken_back_and_nobody_is_killed() {
    let Some(mut bed) = Bed::new("memory_is_taken_back_and_nobody_is_killed", "memory") else {
        return;
    };
    let (code, run) = bed.judged(&bed.keys("fault: memory-pressure, high: 8MiB, duration: 2s"));
    assert_eq!(code, Some(0), "{run:#}");
    assert!(evidence(&run, "acted") > 0, "{run:#}");
    assert_eq!(bed.limit("memory.high"), "max");
    assert!(bed.limit("memory.events").contains("oom_kill 0"), "{}", bed.limit("memory.events"));
    assert!(bed.processes[0].try_wait().unwrap().is_none(), "it lives");
}

#[test]
fn a_disk_is_read_no_faster_than_it_may_be() {
    let test = "a_disk_is_read_no_faster_than_it_may_be";
    if !Path::new(RAMDISK).exists() {
        println!("CHAOS-SKIP {test} ramdisk");
        return;
    }
    let Some(bed) = Bed::new(test, "disk") else { return };
    let before = bed.limit("io.max");
    let fault = format!("fault: io-pressure, path: {RAMDISK}, rbps: 1MiB, duration: 1s");
    let (code, run) = bed.judged(&bed.keys(&fault));
    assert_eq!(code, Some(0), "{run:#}");
    assert!(evidence(&run, "acted") > 0, "{run:#}");
    // Without the limit it would be a hundred times as much.
    assert!((1..=16 << 20).contains(&evidence(&run, "bytes")), "{run:#}");
    assert_eq!(bed.limit("io.max"), before);
}

#[test]
fn what_wants_nothing_is_not_held_back() {
    let Some(bed) = Bed::new("what_wants_nothing_is_not_held_back", "nothing") else { return };
    let (code, run) = bed.judged(&bed.keys("fault: cpu-pressure, cpus: 0.5, duration: 600ms"));
    assert_eq!(code, Some(2), "{run:#}");
    assert!(evidence(&run, "matched") > 0 && evidence(&run, "acted") == 0, "{run:#}");
}

#[test]
fn one_run_at_a_time_lowers_a_limit_and_it_comes_back_when_that_is_killed() {
    let test = "one_run_at_a_time_lowers_a_limit_and_it_comes_back_when_that_is_killed";
    let Some(bed) = Bed::new(test, "cpu") else { return };
    let before = bed.limit("cpu.max");
    let keys = bed.keys("fault: cpu-pressure, cpus: 0.2, duration: 120s");
    let mut first = run(bed.folder.path(), &keys).stdout(Stdio::null()).spawn().unwrap();
    eventually("the limit is lowered", || bed.limit("cpu.max") == "20000 100000");
    let (code, run) = bed.judged(&bed.keys("fault: cpu-pressure, cpus: 0.1, duration: 100ms"));
    let why = run["because"].as_str().unwrap_or_default();
    assert!(code == Some(64) && why.contains("is lowered already"), "{code:?} {run:#}");
    assert_eq!(bed.limit("cpu.max"), "20000 100000");
    let status = chaos(bed.folder.path(), &["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["runs"][0]["also"].to_string().contains("cpu.max"), "{status:#}");
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGKILL).unwrap();
    first.wait().unwrap();
    // Its guardian does it, or this.
    eventually("the limit is as before", || {
        let healed = chaos(bed.folder.path(), &["heal"]).output().unwrap();
        assert_eq!(healed.status.code(), Some(0), "{healed:?}");
        bed.limit("cpu.max") == before
    });
}

#[test]
fn what_this_tool_runs_in_is_not_touched_and_a_missing_controller_is_told() {
    let cgroups = Cgroups::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let judged = |cgroup: &Path| {
        let keys =
            format!("fault: cpu-pressure, cgroup: {}, cpus: 0.2, duration: 1s", cgroup.display());
        let done = run(folder.path(), &keys).output().unwrap();
        let why = first(&done)["because"].as_str().unwrap_or_default().to_owned();
        (done.status.code(), why)
    };
    // What is not in the outer one's subtree_control is missing in the inner one.
    let outer = cgroups.root().join(format!("chaos-outer-{}", std::process::id()));
    let inner = outer.join("inner");
    fs::create_dir_all(&inner).unwrap();
    let missing = judged(&inner);
    fs::remove_dir(&inner).unwrap();
    let home = fs::read_to_string("/proc/self/cgroup").unwrap();
    let home = home.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let enter =
        |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string());
    enter(&outer).unwrap();
    let own = judged(&outer);
    enter(&cgroups.root().join(home)).unwrap();
    eventually("the cgroup is empty", || fs::remove_dir(&outer).is_ok());
    let (code, why) = missing;
    assert!(code == Some(4) && why.contains("the controller `cpu`"), "{code:?} {why}");
    let (code, why) = own;
    assert!(code == Some(64) && why.contains("this would cut you off"), "{code:?} {why}");
}
