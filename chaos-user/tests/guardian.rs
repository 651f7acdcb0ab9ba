//! Who puts things back when a run cannot: its guardian, its controller, or `chaos heal`; and what
//! happens without a journal. Root; traffic stays on the loopback device of a namespace that each
//! test makes.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::io::Read as _;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use chaos::host::ProcessId;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

fn slowness() -> u32 {
    std::env::var("CHAOS_TEST_SLOWNESS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What may take so long on a quiet machine may take longer on a busy one.
fn patience() -> Duration {
    Duration::from_secs(20) * slowness()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    loop {
        let look = Instant::now();
        if holds() {
            return began.elapsed();
        }
        assert!(began.elapsed() < patience(), "{what}: not within {:?}", patience());
        // A look that starts a process takes an emulated processor from what is waited for.
        std::thread::sleep((look.elapsed() * 3).max(Duration::from_millis(5)));
    }
}

struct Place {
    folder: TempDir,
    state: PathBuf,
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
        let folder = tempfile::tempdir().unwrap();
        Self { state: folder.path().join("state"), folder, netns }
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", &self.state)
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null());
        command
    }

    fn inject(&self) -> Command {
        self.inject_with("clsact", 7000)
    }

    fn inject_with(&self, mechanism: &str, port: u16) -> Command {
        let port = port.to_string();
        let mut command = self.chaos(&["inject", "drop", "--proto", "udp", "--for", "120s"]);
        command.args(["--remote-port", &port, "--attach", mechanism, "--netns"]);
        command.arg(self.netns.path());
        command
    }

    fn json(&self, command: &str) -> Value {
        let output = self.chaos(&[command, "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Starts a fault in a process group of its own and waits until it is in force.
    fn start(&self) -> Run {
        let child = self
            .inject()
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut run = Run { child, guardian: Pid::from_raw(0) };
        let mut status = Value::Null;
        until("the fault is in force", || {
            status = self.json("status");
            !status["runs"][0]["faults"][0].is_null()
        });
        let guardian = status["runs"][0]["guardian"].as_i64().unwrap();
        run.guardian = Pid::from_raw(guardian as i32);
        assert_eq!(self.datagrams(5), 0, "every datagram is lost");
        run
    }

    fn datagrams(&self, count: usize) -> usize {
        self.datagrams_to(7000, count)
    }

    /// Sends datagrams to a port of 127.0.0.1 and counts those that arrive.
    fn datagrams_to(&self, port: u16, count: usize) -> usize {
        self.netns
            .run(|| {
                let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
                receiver.set_nonblocking(true).unwrap();
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                let mut arrived = 0;
                for _ in 0..count {
                    sender.send_to(b"x", ("127.0.0.1", port)).unwrap();
                    // Loopback delivers before send returns.
                    arrived += usize::from(receiver.recv(&mut [0; 8]).is_ok());
                }
                arrived
            })
            .unwrap()
    }

    /// Filters, and whether there is a clsact qdisc, on the loopback device.
    fn filters(&self) -> (usize, bool) {
        self.netns
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let mut filters = 0;
                for direction in ["ingress", "egress"] {
                    filters += netlink.bpf_filters(1, direction).await.unwrap().len();
                }
                (filters, netlink.has_clsact(1).await.unwrap())
            })
            .unwrap()
    }

    /// Ids of the programs at the egress of the loopback device, in their order.
    fn programs(&self) -> Vec<u32> {
        let mut programs = self
            .netns
            .run(|| {
                // Kernels without TCX have none to ask about.
                SchedClassifier::query_tcx("lo", TcAttachType::Egress)
                    .map(|(_, programs)| programs.iter().map(ProgramInfo::id).collect())
                    .unwrap_or_default()
            })
            .unwrap_or_else(|error| panic!("{error}"));
        let filters = self.netns.block_on(|| async {
            Netlink::open().unwrap().bpf_filters(1, "egress").await.unwrap()
        });
        let filters = filters.unwrap();
        Vec::extend(&mut programs, filters.iter().map(|filter| filter.program));
        programs
    }

    fn runs(&self) -> usize {
        std::fs::read_dir(self.state.join("runs")).map_or(0, Iterator::count)
    }

    /// Nothing is left: no filter, no qdisc, no journal.
    fn assert_clean(&self) {
        assert_eq!(self.filters(), (0, false));
        assert_eq!(self.runs(), 0);
        assert_eq!(self.datagrams(20), 20);
        assert_eq!(
            self.json("heal"),
            serde_json::json!({"ended": [], "recovered": [], "left": []})
        );
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.state.join("guardian.log")).unwrap_or_default()
    }
}

struct Run {
    child: Child,
    guardian: Pid,
}

impl Run {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end: exit code, or the signal as a negative number, and what it said.
    fn end(mut self) -> (i32, String) {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| -status.signal().unwrap()), text)
    }

    /// Waits until its guardian is gone.
    fn guardian_ends(&self) -> Duration {
        let pid = self.guardian.as_raw().cast_unsigned();
        until("the guardian ends", || {
            ProcessId::of(pid).is_none_or(|guardian| !guardian.is_alive())
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_guardian_heals_when_the_controller_is_killed() {
    let place = Place::new();
    let mut run = place.start();
    assert_eq!(place.filters(), (1, true));
    run.child.kill().unwrap();
    let took = until("datagrams arrive", || place.datagrams(1) == 1);
    println!("traffic flows {took:?} after the kill");
    run.child.wait().unwrap();
    run.guardian_ends();
    place.assert_clean();
    assert!(place.log().contains("its controller"), "{}", place.log());
}

#[test]
fn a_controller_that_dies_at_its_first_steps_leaves_no_journal() {
    const RUNS: u32 = 12;
    let place = Place::new();
    for number in 0..RUNS {
        let mut command = place.inject();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.process_group(0).spawn().unwrap();
        // Drafts count: whoever is struck while one is there has a guardian already.
        until("a journal is begun", || place.runs() > 0);
        std::thread::sleep(Duration::from_micros(500) * slowness() * number);
        child.kill().unwrap();
        child.wait().unwrap();
        until("the journal is gone", || place.runs() == 0);
    }
    place.assert_clean();
}

#[test]
fn the_guardian_is_not_in_the_group_that_is_killed() {
    let place = Place::new();
    let mut run = place.start();
    for signal in [Signal::SIGTSTP, Signal::SIGKILL] {
        killpg(run.pid(), signal).unwrap();
    }
    run.child.wait().unwrap();
    run.guardian_ends();
    place.assert_clean();
    // A terminal that closes, a Ctrl-C and a polite end heal in the controller.
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        let run = place.start();
        killpg(run.pid(), signal).unwrap();
        assert_eq!(run.end().0, 3);
        place.assert_clean();
    }
}

#[test]
fn a_stopped_controller_counts_as_dead() {
    let place = Place::new();
    let run = place.start();
    kill(run.pid(), Signal::SIGSTOP).unwrap();
    let took = until("datagrams arrive", || place.datagrams(1) == 1);
    println!("traffic flows {took:?} after the stop");
    assert!(took < Duration::from_secs(2), "the lease did not run out: {took:?}");
    run.guardian_ends();
    assert_eq!(run.end().0, -(Signal::SIGKILL as i32), "it must not go on with what is undone");
    place.assert_clean();
    assert!(place.log().contains("stopped"), "{}", place.log());
}

#[test]
fn a_controller_without_a_guardian_heals_and_aborts() {
    let place = Place::new();
    for (signal, word) in [(Signal::SIGKILL, "has died"), (Signal::SIGSTOP, "was stopped")] {
        let run = place.start();
        kill(run.guardian, signal).unwrap();
        let (code, text) = run.end();
        assert_eq!(code, 5, "{text}");
        assert!(text.contains("the guardian of this run") && text.contains(word), "{text}");
        place.assert_clean();
    }
}

#[test]
fn when_both_die_rules_end_and_heal_finishes() {
    let place = Place::new();
    let mut run = place.start();
    // Stopped first, so that it cannot act between the two.
    kill(run.guardian, Signal::SIGSTOP).unwrap();
    run.child.kill().unwrap();
    kill(run.guardian, Signal::SIGKILL).unwrap();
    let took = until("datagrams arrive", || place.datagrams(1) == 1);
    assert!(took < Duration::from_secs(2), "the lease did not run out: {took:?}");
    run.child.wait().unwrap();
    run.guardian_ends();
    assert_eq!(place.filters(), (1, true), "filters outlive their process");
    assert_eq!(place.json("status")["runs"][0]["live"], false);
    let leftovers = &place.json("doctor")["leftovers"];
    assert!(leftovers.to_string().contains("the filters of lo"), "{leftovers}");
    let healed = place.json("heal");
    assert!(healed["recovered"][0].to_string().contains("chaos_egress on lo"), "{healed}");
    place.assert_clean();
}

/// What the first version wrote: no numbers, no ids of programs, no word about the clsact qdisc.
fn as_version_1(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    let mut body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
    for later in ["program", "clsact", "controller", "boot"] {
        body.as_object_mut().unwrap().remove(later);
    }
    let body = body.to_string();
    let crc = crc32fast::hash(body.as_bytes());
    serde_json::json!({ "v": 1, "crc": crc, "body": body }).to_string() + "\n"
}

#[test]
fn an_older_journal_with_a_torn_end_is_healed() {
    let place = Place::new();
    let mut run = place.start();
    kill(run.guardian, Signal::SIGSTOP).unwrap();
    run.child.kill().unwrap();
    kill(run.guardian, Signal::SIGKILL).unwrap();
    run.child.wait().unwrap();
    run.guardian_ends();
    assert_eq!(place.filters(), (1, true));
    let runs = std::fs::read_dir(place.state.join("runs")).unwrap();
    let journal = runs.flatten().next().unwrap().path().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let changes = text.lines().filter(|line| {
        let known = ["begin", "filter", "active"].map(|kind| format!("record\\\":\\\"{kind}"));
        known.iter().any(|kind| line.contains(kind))
    });
    let mut old: String = changes.map(as_version_1).collect();
    assert_eq!(old.lines().count(), 3, "{text}");
    // The power failed while the next one was written.
    old += &text[..40];
    std::fs::write(&journal, old).unwrap();
    let healed = place.json("heal");
    assert!(healed["recovered"][0].to_string().contains("chaos_egress on lo"), "{healed}");
    place.assert_clean();
}

#[test]
fn overlapping_runs_end_without_touching_each_other() {
    for mechanism in ["clsact", "auto"] {
        for first_ends_first in [true, false] {
            let place = Place::new();
            let mut runs = Vec::new();
            for port in [7000, 7001] {
                let before = place.programs();
                let mut command = place.inject_with(mechanism, port);
                let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
                runs.push((Run { child, guardian: Pid::from_raw(0) }, port));
                // The clsact qdisc, when it comes, loses a datagram as well.
                until("the fault is in force", || {
                    place.programs().len() > before.len() && place.datagrams_to(port, 1) == 0
                });
                let now = place.programs();
                assert!(before.iter().all(|program| now.contains(program)), "{before:?} {now:?}");
            }
            let both = place.programs();
            assert_eq!(both.len(), 2, "{both:?}");
            let ((ends, healed), (stays, hit)) = if first_ends_first {
                (runs.remove(0), runs.remove(0))
            } else {
                (runs.remove(1), runs.remove(0))
            };
            kill(ends.pid(), Signal::SIGTERM).unwrap();
            assert_eq!(ends.end().0, 3);
            assert_eq!(place.datagrams_to(healed, 20), 20, "{mechanism}");
            assert_eq!(place.datagrams_to(hit, 20), 0, "{mechanism}: the other one goes on");
            let one = place.programs();
            assert!(one.len() == 1 && both.contains(&one[0]), "{both:?} {one:?}");
            // Of the other one, too, when nobody asks it to end.
            kill(stays.pid(), Signal::SIGKILL).unwrap();
            assert_eq!(stays.end().0, -(Signal::SIGKILL as i32));
            until("the guardian has healed", || place.runs() == 0);
            place.assert_clean();
        }
    }
}

#[test]
fn the_halt_ends_every_run_even_a_stopped_one() {
    let place = Place::new();
    let (first, second) = (place.start(), place.inject().stderr(Stdio::null()).spawn().unwrap());
    let second = Run { child: second, guardian: Pid::from_raw(0) };
    until("two runs are in force", || {
        let status = place.json("status");
        (0..2).all(|run| !status["runs"][run]["faults"][0].is_null())
    });
    kill(second.pid(), Signal::SIGSTOP).unwrap();
    let halted = place.json("halt");
    assert_eq!(halted["ended"].as_array().unwrap().len(), 2, "{halted}");
    assert_eq!(halted["left"].to_string(), "[]");
    assert_eq!(first.end().0, 3);
    drop(second);
    place.assert_clean();
}

/// Runs `chaos inject` where it must refuse; nothing may have been touched.
fn refused(place: &Place, word: &str) {
    let output = place.inject().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains(word), "{word}: {text}");
    assert_eq!(place.filters(), (0, false));
    assert_eq!(place.datagrams(5), 5);
}

/// A mounted tmpfs.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&path).unwrap();
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_journal_that_cannot_be_written_refuses_the_fault() {
    let mut place = Place::new();
    // 64 KiB: less than a journal reserves.
    let small = Mounted::new(place.folder.path().join("small"), "size=64k,mode=700");
    place.state = small.0.join("state");
    refused(&place, "No space left");
    let fixed = Mounted::new(place.folder.path().join("fixed"), "size=4m,mode=700");
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(Some("none"), &fixed.0, Some("tmpfs"), read_only, None::<&str>).unwrap();
    place.state = fixed.0.join("state");
    refused(&place, "Read-only");
}

#[test]
fn a_folder_that_others_can_change_is_not_trusted() {
    let mut place = Place::new();
    let folder = place.folder.path().join("others");
    place.state.clone_from(&folder);
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    refused(&place, "others can write to it");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    chown(&folder, Some(65534), None).unwrap();
    refused(&place, "it belongs to user 65534");
    // Also when it is further up, and by another name.
    place.state = folder.join("state");
    refused(&place, "it belongs to user 65534");
    chown(&folder, Some(0), None).unwrap();
    place.state = place.folder.path().join("link");
    symlink(&folder, &place.state).unwrap();
    refused(&place, "it is no folder");
    place.state.clone_from(&folder);
    symlink("/tmp", folder.join("runs")).unwrap();
    refused(&place, "it is no folder");
}
