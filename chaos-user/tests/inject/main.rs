//! `chaos inject`, `status`, `heal` and `doctor`, as a user types them. Root; traffic stays on the
//! loopback device of a namespace that each test makes.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod growing;
mod held;
mod mishaps;
mod netem;
mod settings;
#[path = "../support/slowness.rs"]
mod slowness;
mod stopped;

use std::io::Read as _;
use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::slowness::slowness;

struct Place {
    state: TempDir,
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
        Self { state: tempfile::tempdir().unwrap(), netns }
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.state.path())
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null());
        command
    }

    fn inject(&self, arguments: &[&str]) -> Command {
        let mut command = self.chaos(&["inject"]);
        command.args(arguments).arg("--netns").arg(self.netns.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        outcome(self.chaos(arguments).output().unwrap())
    }

    /// Starts a fault and waits until `chaos status` shows it in force.
    fn start(&self, arguments: &[&str]) -> Child {
        let child =
            self.inject(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.in_force(0);
        child
    }

    /// Waits until `chaos status` shows that many runs before one that is in force.
    fn in_force(&self, before: usize) {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let look = Instant::now();
            if !self.status()["runs"][before]["faults"][0].is_null() {
                return;
            }
            assert!(Instant::now() < until, "the fault did not come into force");
            // Emulated processors look about as long as they take to start a fault: looking all the
            // time doubles that.
            std::thread::sleep((look.elapsed() * 3).max(Duration::from_millis(20)));
        }
    }

    fn status(&self) -> Value {
        let (code, text, _) = self.run(&["status", "--json"]);
        assert_eq!(code, 0);
        serde_json::from_str(&text).unwrap()
    }

    /// Sends datagrams to 127.0.0.1 and counts those that arrive.
    fn datagrams(&self, port: u16, count: usize) -> usize {
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
}

/// How long a lease may take to run out: one second, and what a busy machine adds.
fn lease() -> Duration {
    Duration::from_secs(3) * slowness()
}

/// Seconds that a fault lasts, as `--for` takes them; longer where the machine is emulated, but not
/// without end: each of them is waited for.
fn lasting(seconds: u64) -> String {
    format!("{}s", seconds * u64::from(slowness().min(6)))
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn finish(mut child: Child) -> (i32, String) {
    // What it prints may be more than a pipe holds, so it is read first.
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    (status.code().unwrap_or(-1), text)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn a_fault_that_acts_ends_with_its_evidence_and_0() {
    let place = Place::new();
    let child = place.start(&[
        "drop",
        "--proto",
        "udp",
        "--remote-port",
        "7000",
        "--for",
        &lasting(3),
        "--json",
    ]);
    assert_eq!(place.datagrams(7000, 20), 0, "every datagram is lost");
    assert_eq!(place.datagrams(7001, 20), 20, "other ports lose nothing");
    let status = place.status();
    assert_eq!(status["runs"][0]["live"], true);
    assert_eq!(status["runs"][0]["faults"][0]["evidence"][0]["acted"], 20);
    let (code, text) = finish(child);
    assert_eq!(code, 0);
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["evidence"][0]["matched"], 20);
    assert_eq!(result["evidence"][0]["acted"], 20);
    assert!(result["evidence"][0]["seen"].as_u64().unwrap() >= 40);
    assert_eq!(result["events"].as_array().unwrap().len(), 20);
    assert_eq!(place.datagrams(7000, 20), 20, "healed");
    assert!(place.status()["runs"].as_array().unwrap().is_empty(), "no trace is left");
}

#[test]
fn a_fault_that_hits_nothing_is_inconclusive() {
    let place = Place::new();
    let output =
        place.inject(&["drop", "--remote", "192.0.2.1", "--for", "200ms"]).output().unwrap();
    let (code, text, _) = outcome(output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("INCONCLUSIVE: no packet matched"), "{text}");
}

#[test]
fn ctrl_c_heals_and_exits_3() {
    let place = Place::new();
    let child = place.start(&["drop", "--proto", "udp", "--for", "60s"]);
    assert_eq!(place.datagrams(7000, 5), 0);
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("interrupted; healed"), "{text}");
    assert_eq!(place.datagrams(7000, 5), 5);
}

#[test]
fn heal_ends_live_runs() {
    let place = Place::new();
    let live = place.start(&["drop", "--proto", "udp", "--for", "60s"]);
    let (code, text, _) = place.run(&["heal"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("ended the live run"), "{text}");
    assert_eq!(finish(live).0, 3);
    assert_eq!(place.datagrams(7000, 5), 5);
    assert_eq!(place.run(&["heal"]).1.trim(), "nothing to heal", "idempotent");
}

#[test]
fn a_dry_run_names_devices_rules_and_live_sockets_and_touches_nothing() {
    let place = Place::new();
    let (listener, _client) = place
        .netns
        .run(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:7100").unwrap();
            let client = std::net::TcpStream::connect("127.0.0.1:7100").unwrap();
            (listener, client)
        })
        .unwrap();
    let output = place
        .inject(&["drop", "--remote-port", "7100", "--for", "1s", "--dry-run"])
        .output()
        .unwrap();
    let (code, text, _) = outcome(output);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("tc egress to lo"), "{text}");
    assert!(text.contains("remote port 7100"), "{text}");
    assert!(text.contains("1 live sockets would be hit"), "{text}");
    assert!(text.contains("to 127.0.0.1:7100"), "{text}");
    assert!(place.status()["runs"].as_array().unwrap().is_empty());
    drop(listener);
}

#[test]
fn protected_flows_are_exempt() {
    let place = Place::new();
    let child = place.start(&[
        "drop",
        "--proto",
        "udp",
        "--for",
        "60s",
        "--protect",
        "remote-port=7200,proto=udp",
    ]);
    assert_eq!(place.datagrams(7201, 5), 0);
    assert_eq!(place.datagrams(7200, 5), 5);
    signal(&child, Signal::SIGTERM);
    assert_eq!(finish(child).0, 3);
}

#[test]
fn the_ssh_session_is_exempt() {
    let place = Place::new();
    let output = place
        .inject(&["drop", "--for", "1s", "--dry-run"])
        .env("SSH_CONNECTION", "192.0.2.7 50000 198.51.100.1 22")
        .output()
        .unwrap();
    let (_, text, _) = outcome(output);
    assert!(text.contains("protect ssh from 192.0.2.7"), "{text}");
}

#[test]
fn packets_can_be_traced() {
    let place = Place::new();
    let child = place.start(&["drop", "--proto", "udp", "--for", &lasting(2), "--trace-packets"]);
    place.datagrams(7000, 3);
    let mut child = child;
    child.wait().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let lines = text.lines().filter(|line| line.contains("kernel: rule 0")).count();
    assert_eq!(lines, 3, "{text}");
    assert!(text.contains("127.0.0.1 port 7000"), "{text}");
}

#[test]
fn wrong_input_is_refused_before_anything_is_touched() {
    let place = Place::new();
    for (arguments, code, message) in [
        (&["drop", "--for", "5"][..], 64, "did you mean `5s`"),
        (&["drop", "--loss", "10", "--for", "1s"][..], 64, "10%"),
        (&["drop"][..], 64, "--for"),
        (&["drop", "--dev", "l0", "--for", "1s"][..], 64, "did you mean `lo`"),
        (&["drop", "--remote", "10.1.2.3/8", "--for", "1s"][..], 64, "10.0.0.0/8"),
        (&["drop", "--local", "10.0.0.1", "--remote", "::1", "--for", "1s"][..], 64, "IP versions"),
        (&["drop", "--proto", "icmp", "--remote-port", "1", "--for", "1s"][..], 64, "no ports"),
        (&["drop", "--proto", "udp", "--connections", "new", "--for", "1s"][..], 64, "tcp only"),
        (&["drop", "--loss", "0%", "--for", "1s"][..], 64, "never acts"),
        (&["drop", "--exact", "--for", "1s"][..], 64, "--loss"),
        (&["drop", "--cgroup", "/", "--for", "1s"][..], 64, "root cgroup"),
        (&["drop", "--cgroup", "/no/such", "--for", "1s"][..], 64, "no cgroup"),
        (&["drop", "--unit", "no-such-unit", "--for", "1s"][..], 64, "no systemd unit"),
        (&["drop", "--pid", "999999999", "--for", "1s"][..], 64, "no process"),
        (&["partition", "--for", "1s"][..], 64, "--remote"),
        (&["drop", "--for", "0s"][..], 64, "before it began"),
    ] {
        let (got, _, text) = outcome(place.inject(arguments).output().unwrap());
        assert_eq!(got, code, "{arguments:?}: {text}");
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
    let (got, _, text) =
        place.run(&["inject", "drop", "--for", "1s", "--netns", "no-such-namespace"]);
    assert_eq!(got, 64, "{text}");
    assert!(place.status()["runs"].as_array().unwrap().is_empty(), "nothing was touched");
}

#[test]
fn the_doctor_finds_this_host_able() {
    let place = Place::new();
    let (code, text, _) = place.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0, "{text}");
    assert_eq!(report["able"], true);
}

/// A cgroup with one sleeping process in it; both are gone when it is dropped.
struct Unit {
    folder: std::path::PathBuf,
    process: Child,
}

impl Unit {
    fn start(name: &str) -> Self {
        let folder = chaos::host::Cgroups::find().unwrap().root().join(name);
        std::fs::create_dir(&folder).unwrap();
        let process = Command::new("sleep").arg("60").spawn().unwrap();
        let unit = Self { folder, process };
        std::fs::write(unit.folder.join("cgroup.procs"), unit.process.id().to_string()).unwrap();
        unit
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

#[test]
fn units_and_processes_are_found_by_their_cgroup() {
    let place = Place::new();
    let name = format!("chaos-test-{}.service", std::process::id());
    let unit = Unit::start(&name);
    let (pid, path) = (unit.process.id().to_string(), unit.folder.display().to_string());
    let short = name.trim_end_matches(".service");
    for (option, value) in
        [("--unit", name.as_str()), ("--unit", short), ("--pid", &pid), ("--cgroup", &path)]
    {
        let mut command = place.inject(&["drop", "--for", "1s", "--dry-run", option, value]);
        let (code, text, error) = outcome(command.output().unwrap());
        assert_eq!(code, 0, "{option} {value}: {error}");
        assert!(text.contains(&format!("cgroup {path}")), "{option} {value}: {text}");
    }
    let typo = name.replace("test", "tset");
    let (code, _, text) =
        outcome(place.inject(&["drop", "--for", "1s", "--unit", &typo]).output().unwrap());
    assert_eq!(code, 64);
    assert!(text.contains(&format!("did you mean `{name}`")), "{text}");
}

#[test]
fn sockets_are_destroyed_on_request() {
    let place = Place::new();
    let (mut client, _server) = place
        .netns
        .run(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:7300").unwrap();
            let client = std::net::TcpStream::connect("127.0.0.1:7300").unwrap();
            (client, listener.accept().unwrap().0)
        })
        .unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let arguments =
        ["reject", "--remote-port", "7300", "--destroy-sockets", "--for", &lasting(1), "--json"];
    let child = place.start(&arguments);
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted, "{error}");
    let (code, text) = finish(child);
    assert_eq!(code, 0, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["sockets_destroyed"], 1);
}
