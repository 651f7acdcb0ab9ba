//! `chaos inject duplicate|corrupt`, as a user types them: what arrives is what the evidence says.
//! Root; traffic stays on the loopback device of a namespace that each test makes.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use aya::programs::tc::qdisc_add_clsact;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use serde_json::Value;
use tempfile::TempDir;

const PORT: u16 = 7000;
const PAYLOAD: [u8; 64] = [0x5a; 64];

struct Place {
    state: TempDir,
    netns: NetNs,
}

/// What happened to datagrams that were sent while a fault began, lasted and ended.
#[derive(Debug, Default)]
struct Traffic {
    sent: u64,
    right: u64,
    wrong: u64,
}

impl Traffic {
    /// Counts what there is to receive.
    fn receive(&mut self, receiver: &UdpSocket) {
        let mut buffer = [0; 128];
        while let Ok(size) = receiver.recv(&mut buffer) {
            let right = buffer[..size] == PAYLOAD;
            *(if right { &mut self.right } else { &mut self.wrong }) += 1;
        }
    }
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
        // Adding a clsact qdisc stops a device's queues for a moment, and the kernel loses what is sent
        // then. Where there is one, a run needs no other (and a kernel with TCX none at all).
        netns.run(|| qdisc_add_clsact("lo").unwrap()).unwrap();
        Self { state: tempfile::tempdir().unwrap(), netns }
    }

    fn inject(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .arg("inject")
            .args(arguments)
            .args(["--proto", "udp", "--remote-port", "7000", "--netns"])
            .arg(self.netns.path())
            .env("CHAOS_STATE_DIR", self.state.path())
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a fault and sends datagrams until it is over; its evidence and what arrived.
    fn under_fault(&self, arguments: &[&str]) -> (Value, Traffic) {
        let slowness = std::env::var("CHAOS_TEST_SLOWNESS").ok().and_then(|text| text.parse().ok());
        // A hundred packets or so, however slow the machine is.
        let lasts = format!("{}ms", (100 * slowness.unwrap_or(1)).max(500));
        let child = self.inject(arguments).args(["--json", "--for", &lasts]).spawn().unwrap();
        // What it prints may be more than a pipe holds.
        let run = std::thread::spawn(move || child.wait_with_output().unwrap());
        let traffic = self
            .netns
            .run(|| {
                let receiver = UdpSocket::bind(("127.0.0.1", PORT)).unwrap();
                receiver.set_nonblocking(true).unwrap();
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                let mut traffic = Traffic::default();
                while !run.is_finished() {
                    sender.send_to(&PAYLOAD, ("127.0.0.1", PORT)).unwrap();
                    traffic.sent += 1;
                    traffic.receive(&receiver);
                    std::thread::sleep(Duration::from_millis(2));
                }
                // A busy kernel delivers after send returned.
                receiver.set_nonblocking(false).unwrap();
                receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                traffic.receive(&receiver);
                traffic
            })
            .unwrap();
        let (code, text, error) = outcome(run.join().unwrap());
        assert_eq!(code, 0, "{text} {error}");
        let result: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["acted"], true);
        assert_eq!(result["remarks"].as_array().unwrap().len(), 0, "{text}");
        (result["evidence"][0].clone(), traffic)
    }
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn what_arrives_is_what_the_evidence_says() {
    let place = Place::new();
    let acted = |evidence: &Value| evidence["acted"].as_u64().unwrap();
    let (evidence, traffic) = place.under_fault(&["duplicate", "--copies", "2"]);
    assert_eq!(evidence["matched"], evidence["acted"]);
    assert_eq!(traffic.right, traffic.sent + 2 * acted(&evidence), "{traffic:?}");
    let (evidence, traffic) = place.under_fault(&["corrupt", "--every", "2"]);
    assert_eq!(evidence["matched"].as_u64().unwrap() / 2, acted(&evidence));
    assert_eq!(traffic.right, traffic.sent - acted(&evidence), "{traffic:?}");
    assert_eq!(traffic.wrong, 0, "discarded by the receiver");
    let (evidence, traffic) = place.under_fault(&["corrupt", "--checksum", "silent"]);
    assert_eq!(traffic.wrong, acted(&evidence), "{traffic:?}");
    assert_eq!(traffic.right, traffic.sent - acted(&evidence), "{traffic:?}");
}

#[test]
fn a_dry_run_says_what_would_happen() {
    let place = Place::new();
    for (arguments, text) in [
        (&["duplicate", "--share", "10%", "--exact"][..], "duplicate exactly 10% of packets"),
        (&["corrupt"][..], "flip a bit in every packet, so that checksums detect it"),
        (&["corrupt", "--checksum", "silent"][..], "SILENTLY (checksums are made to fit)"),
    ] {
        let output = place.inject(arguments).args(["--for", "1s", "--dry-run"]).output().unwrap();
        let (code, said, error) = outcome(output);
        assert_eq!(code, 0, "{error}");
        assert!(said.contains(text) && said.ends_with("nothing was touched\n"), "{said}");
    }
}

#[test]
fn wrong_input_is_refused() {
    let place = Place::new();
    for (arguments, reason) in [
        (&["duplicate", "--copies", "0"][..], "1..=8"),
        (&["duplicate", "--copies", "9"][..], "1..=8"),
        (&["duplicate", "--share", "0%"][..], "a share of 0% never acts"),
        (&["duplicate", "--share", "101%"][..], "101%"),
        (&["duplicate", "--exact"][..], "--share"),
        (&["corrupt", "--share", "1%", "--every", "3"][..], "cannot be used with"),
        (&["corrupt", "--checksum", "loud"][..], "loud"),
        (&["corrupt", "--every", "0"][..], "every 0th packet is no packet"),
    ] {
        let output = place.inject(arguments).args(["--for", "1s"]).output().unwrap();
        let (code, said, error) = outcome(output);
        assert_eq!(code, 64, "{arguments:?}: {said} {error}");
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
}
