//! A filesystem that fails: for whom, with what, how it ends, and what is counted. Root, and a kernel
//! that asks LSM programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/eventually.rs"]
mod eventually;
#[path = "support/slowness.rs"]
mod slowness;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use chaos::experiment::Span;
use chaos::fault::DiskError;
use chaos::host::Cgroups;
use chaos::kernel::bpf::lsm_asks;
use chaos::plan::{DiskErrno, Loss};
use chaos_common::decide::exact;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::slowness::slowness;

/// Tests move this process from cgroup to cgroup, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Two small filesystems that only this thread and what it starts can see, and two cgroups.
struct Bed {
    folder: TempDir,
    home: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Bed {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).unwrap();
        for name in ["disk", "other"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            let (kind, size) = (Some("tmpfs"), Some("size=1m"));
            mount(kind, &path, kind, MsFlags::empty(), size).unwrap();
            fs::write(path.join("old"), b"old").unwrap();
        }
        let cgroups = Cgroups::find().unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let bed = Self { folder, home: cgroups.root().join(own), _turn: turn };
        for name in ["victims", "others"] {
            fs::create_dir(Bed::cgroup(name)).unwrap();
        }
        bed
    }

    fn cgroup(name: &str) -> PathBuf {
        let root = Cgroups::find().unwrap().root().to_owned();
        root.join(format!("chaos-{name}-{}", std::process::id()))
    }

    /// Moves this process.
    fn enter(name: &str) {
        let procs = Self::cgroup(name).join("cgroup.procs");
        fs::write(procs, std::process::id().to_string()).unwrap();
    }

    fn leave(&self) {
        let _ = fs::write(self.home.join("cgroup.procs"), std::process::id().to_string());
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, keys: &str) -> Command {
        let text = format!(
            "title: It fails\nmethod:\n  - name: fail\n    type: action\n    \
             provider: {{ type: chaos, fault: disk-error, {keys} }}\n"
        );
        let path = self.folder.path().join("fail.yaml");
        fs::write(&path, text).unwrap();
        self.chaos(&["run", "--json", &path.display().to_string()])
    }

    /// Starts a fault for the victims, and becomes one.
    fn start(&self, keys: &str) -> Running {
        self.leave();
        let cgroup = Self::cgroup("victims");
        let keys = format!("path: disk, cgroup: {}, duration: 120s, {keys}", cgroup.display());
        let running = Running(Some(self.run(&keys).spawn().unwrap()));
        Self::enter("victims");
        running
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.leave();
        for name in ["victims", "others"] {
            let _ = fs::remove_dir(Self::cgroup(name));
        }
    }
}

/// `chaos run`, killed if a test fails.
struct Running(Option<Child>);

impl Running {
    fn signal(&self, signal: Signal) {
        let id = self.0.as_ref().unwrap().id();
        kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
    }

    /// Interrupts it, and returns what the rule saw, matched and did.
    fn interrupt(mut self) -> (u64, u64, u64) {
        self.signal(Signal::SIGINT);
        let done = self.0.take().unwrap().wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(3), "{done:?}");
        let runs = parsed(&done);
        let evidence = &runs[0]["faults"][0]["evidence"][0];
        let number = |key: &str| evidence[key].as_u64().unwrap_or_else(|| panic!("{runs:#}"));
        (number("seen"), number("matched"), number("acted"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parsed(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"))
}

/// On a thread of its own, whose mounts end with it; not at all where LSM programs are not asked.
fn apart(name: &str, test: impl FnOnce() + Send + 'static) {
    match lsm_asks() {
        Ok(true) => {}
        other => {
            println!("LSM programs are not asked here: {other:?}");
            println!("CHAOS-SKIP {name} bpf-lsm");
            return;
        }
    }
    if let Err(panic) = thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}

/// The errno of what failed; 0 of what did not.
fn errno<T>(done: io::Result<T>) -> i32 {
    done.err().map_or(0, |error| error.raw_os_error().unwrap())
}

fn write(file: &mut File) -> i32 {
    errno(file.write(b"x"))
}

/// Every way to change a filesystem, and what each returned.
fn changes(disk: &Path, open: &mut File) -> Vec<(&'static str, i32)> {
    let at = |name: &str| disk.join(name);
    let writing = OpenOptions::new().append(true).open(at("old"));
    vec![
        ("write", write(open)),
        ("open", errno(writing)),
        ("create", errno(File::create_new(at("new")))),
        ("mkdir", errno(fs::create_dir(at("folder")))),
        ("symlink", errno(std::os::unix::fs::symlink("old", at("symlink")))),
        ("link", errno(fs::hard_link(at("old"), at("link")))),
        ("rename", errno(fs::rename(at("old"), at("older")))),
        ("rename back", errno(fs::rename(at("older"), at("old")))),
        ("chmod", errno(fs::set_permissions(at("old"), fs::Permissions::from_mode(0o600)))),
        ("truncate", errno(open.set_len(0))),
        ("unlink", errno(fs::remove_file(at("new")))),
        ("unlink symlink", errno(fs::remove_file(at("symlink")))),
        ("unlink link", errno(fs::remove_file(at("link")))),
        ("rmdir", errno(fs::remove_dir(at("folder")))),
    ]
}

fn failed(changes: &[(&'static str, i32)]) -> Vec<(&'static str, i32)> {
    changes.iter().filter(|(_, errno)| *errno != 0).copied().collect()
}

#[test]
fn a_read_only_filesystem_refuses_every_change_to_its_victims_alone() {
    apart("a_read_only_filesystem_refuses_every_change_to_its_victims_alone", || {
        let bed = Bed::new();
        let (disk, other) = (bed.disk(), bed.folder.path().join("other"));
        let mut open = File::create(disk.join("open")).unwrap();
        let mut elsewhere = File::create(other.join("open")).unwrap();
        let run = bed.start("errno: EROFS");
        eventually("read-only", || write(&mut open) == libc::EROFS);
        let refused = changes(&disk, &mut open);
        let expected = ["write", "open", "create", "mkdir", "symlink", "link", "rename"];
        for (change, errno) in &refused {
            // What could not be made is not there to be renamed or removed.
            let missing = ["rename back", "unlink", "unlink symlink", "unlink link", "rmdir"];
            let wanted = if missing.contains(change) { libc::ENOENT } else { libc::EROFS };
            assert_eq!(*errno, wanted, "{change}: {refused:?}");
        }
        assert!(expected.iter().all(|one| refused.iter().any(|(change, _)| change == one)));
        assert_eq!(errno(fs::remove_file(disk.join("old"))), libc::EROFS);
        assert_eq!(fs::read(disk.join("old")).unwrap(), b"old");
        // Another filesystem, and another cgroup on this one.
        assert_eq!(failed(&changes(&other, &mut elsewhere)), []);
        Bed::enter("others");
        assert_eq!(failed(&changes(&disk, &mut open)), []);
        Bed::enter("victims");
        assert_eq!(write(&mut open), libc::EROFS);
        run.interrupt();
        assert_eq!(failed(&changes(&disk, &mut open)), []);
    });
}

#[test]
fn a_full_filesystem_can_be_read_and_cleared_and_everything_is_counted() {
    apart("a_full_filesystem_can_be_read_and_cleared_and_everything_is_counted", || {
        let bed = Bed::new();
        let disk = bed.disk();
        let mut open = File::create(disk.join("open")).unwrap();
        let run = bed.start("errno: ENOSPC");
        let (mut before, mut refused) = (0, 0);
        eventually("full", || match write(&mut open) {
            libc::ENOSPC => {
                refused += 1;
                true
            }
            _ => {
                before += 1;
                false
            }
        });
        for _ in 0..20 {
            assert_eq!(write(&mut open), libc::ENOSPC);
            refused += 1;
        }
        assert_eq!(errno(fs::create_dir(disk.join("folder"))), libc::ENOSPC);
        refused += 1;
        assert_eq!(errno(OpenOptions::new().append(true).open(disk.join("old"))), 0);
        assert_eq!(fs::read(disk.join("old")).unwrap(), b"old");
        assert_eq!(errno(fs::remove_file(disk.join("old"))), 0);
        let (seen, matched, acted) = run.interrupt();
        assert_eq!((matched, acted), (refused, refused), "{before} writes were before");
        assert!(seen > matched, "nobody else wrote on this host: {seen}");
    });
}

#[test]
fn a_seed_decides_which_reads_fail() {
    apart("a_seed_decides_which_reads_fail", || {
        let bed = Bed::new();
        let old = bed.disk().join("old");
        let run = bed.start("errno: EIO, operations: [read], exact: 30%, seed: 7");
        let mut file = File::open(&old).unwrap();
        let mut results = Vec::new();
        let mut read = || {
            let errno = errno(file.read(&mut [0]));
            assert!(errno == 0 || errno == libc::EIO, "{errno}");
            results.push(errno != 0);
            errno != 0
        };
        eventually("one fails", &mut read);
        for _ in 0..1500 {
            read();
        }
        assert_eq!(errno(OpenOptions::new().append(true).open(&old).unwrap().write(b"x")), 0);
        let (_, matched, acted) = run.interrupt();
        let decided: Vec<bool> = (0..matched).map(|n| exact(7, n, 300_000_000)).collect();
        assert!(matched > 1500, "{matched}");
        assert_eq!(results[results.len() - decided.len()..], decided);
        assert_eq!(acted, decided.iter().filter(|fails| **fails).count() as u64);
    });
}

#[test]
fn a_fault_ends_when_its_controller_is_held_up() {
    apart("a_fault_ends_when_its_controller_is_held_up", || ends_with(Signal::SIGSTOP));
}

#[test]
fn a_fault_ends_when_its_controller_is_killed() {
    apart("a_fault_ends_when_its_controller_is_killed", || ends_with(Signal::SIGKILL));
}

fn ends_with(signal: Signal) {
    let bed = Bed::new();
    let mut open = File::create(bed.disk().join("open")).unwrap();
    let mut run = bed.start("errno: EIO, operations: [write]");
    eventually("it fails", || write(&mut open) == libc::EIO);
    // It fails a moment before it is written down.
    eventually("status shows it", || {
        let status = parsed(&bed.chaos(&["status", "--json"]).output().unwrap());
        status["runs"][0]["also"].to_string().contains("fails with EIO")
    });
    run.signal(signal);
    // The lease runs out, or the links go with the last reference to them.
    eventually("it works", || write(&mut open) == 0);
    // A stopped run is killed by its guardian.
    run.0.take().unwrap().wait().unwrap();
    bed.leave();
    let healed = bed.chaos(&["heal"]).output().unwrap();
    assert_eq!(healed.status.code(), Some(0), "{healed:?}");
}

#[test]
fn the_kernel_ends_a_fault_that_nobody_heals() {
    apart("the_kernel_ends_a_fault_that_nobody_heals", || {
        let bed = Bed::new();
        // This process is exempt here, being the controller: others have to be hit.
        let append = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "echo x >>file"]).current_dir(bed.disk());
            shell.stderr(Stdio::null()).status().unwrap().success()
        };
        let fault = DiskError {
            name: "fail".into(),
            place: File::open(bed.disk()).unwrap().into(),
            path: bed.disk(),
            errno: DiskErrno::ReadOnly,
            operations: DiskErrno::ReadOnly.operations(),
            cgroup: None,
            share: Loss::Always,
            lasts: Span::from_ms(500 * u64::from(slowness())),
            seed: 1,
            force: false,
            own: None,
        };
        assert!(append());
        let active = fault.start().unwrap();
        assert!(!append(), "{:?}", active.remaining());
        assert_eq!(errno(fs::write(bed.disk().join("own"), b"x")), 0, "the controller is exempt");
        thread::sleep(active.remaining());
        assert!(append());
        let (evidence, _) = active.heal().unwrap();
        assert!(evidence.acted > 0 && evidence.acted == evidence.matched, "{evidence:?}");
    });
}

#[test]
fn what_the_host_depends_on_does_not_fail_for_everybody() {
    let bed = Bed::new();
    let done = bed.run("errno: EIO, path: /, duration: 1s").output().unwrap();
    assert_eq!(done.status.code(), Some(64), "{done:?}");
    let runs = parsed(&done);
    let why = runs[0]["because"].as_str().unwrap();
    assert!(why.contains("holds `/`") && why.contains("choose a cgroup"), "{why}");
    let missing = "errno: EIO, path: disk, duration: 1s, cgroup: no-such-cgroup";
    let done = bed.run(missing).output().unwrap();
    assert_eq!(done.status.code(), Some(64), "{done:?}");
    assert!(parsed(&done)[0]["because"].as_str().unwrap().contains("no cgroup `no-such-cgroup`"));
}

#[test]
fn without_the_lsm_the_fault_is_a_clear_error_and_the_doctor_says_so() {
    let bed = Bed::new();
    let done = bed.run("errno: EIO, path: disk, duration: 50ms").output().unwrap();
    let runs = parsed(&done);
    let why = runs[0]["because"].as_str().unwrap();
    if matches!(lsm_asks(), Ok(true)) {
        // Nobody used the filesystem.
        assert_eq!(done.status.code(), Some(2), "{runs:#}");
        return;
    }
    assert_eq!(done.status.code(), Some(4), "{runs:#}");
    assert!(why.contains("LSM programs") && why.contains("disk-fill"), "{why}");
    // It tries everything, which takes long where the other branch is tested.
    let doctor = bed.chaos(&["doctor", "--json"]).output().unwrap();
    let report = parsed(&doctor);
    let features = report["features"].as_array().unwrap();
    let lsm = features.iter().find(|feature| feature["name"] == "bpf-lsm").unwrap();
    assert_eq!(lsm["support"]["state"], "no", "{lsm}");
}
