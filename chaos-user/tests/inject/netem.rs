//! `chaos inject netem` and `fault: netem`: whole devices.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use chaos::host;
use chaos::kernel::netlink::qdisc::{RootQdisc, TcSocket};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Place, finish, lasting, outcome, signal};

const LOOPBACK: u32 = 1;

fn has_netem() -> bool {
    match host::netem().unwrap() {
        Ok(()) => true,
        Err(error) if error.is_unsupported() => false,
        Err(error) => panic!("{error}"),
    }
}

fn skip(test: &str) {
    println!("CHAOS-SKIP {test} netem");
}

fn root(place: &Place) -> RootQdisc {
    let snapshot = || RootQdisc::snapshot(&mut TcSocket::open().unwrap(), LOOPBACK).unwrap();
    place.netns.run(snapshot).unwrap()
}

/// How long a datagram takes over the loopback; the best of three, since a machine that is held up
/// only makes it longer.
fn one_way(place: &Place) -> Duration {
    let once = || {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sent = Instant::now();
        sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        receiver.recv(&mut [0; 8]).unwrap();
        sent.elapsed()
    };
    place.netns.run(|| (0..3).map(|_| once()).min().unwrap()).unwrap()
}

#[test]
fn a_kernel_without_netem_is_told_before_anything_is_touched() {
    let place = Place::new();
    let before = root(&place);
    for rest in [&["--dry-run"][..], &[]] {
        let arguments = [&["netem", "--dev", "lo", "--latency", "1ms", "--for", "10ms"], rest];
        let (code, _, text) = outcome(place.inject(&arguments.concat()).output().unwrap());
        if has_netem() {
            // Nothing was sent meanwhile.
            assert_eq!(code, if rest.is_empty() { 2 } else { 0 }, "{text}");
        } else {
            assert_eq!(code, 4, "{text}");
            assert!(text.contains("no sch_netem"), "{text}");
            assert!(text.contains("chaos inject delay"), "{text}");
        }
        assert_eq!(root(&place), before);
        assert!(place.status()["runs"].as_array().unwrap().is_empty());
    }
}

#[test]
fn the_whole_device_is_slow_and_then_as_before() {
    if !has_netem() {
        return skip("the_whole_device_is_slow_and_then_as_before");
    }
    let place = Place::new();
    let before = root(&place);
    let lasts = lasting(2);
    let arguments =
        ["netem", "--dev", "lo", "--latency", "60ms", "--seed", "7", "--for", &lasts, "--json"];
    let child = place.start(&arguments);
    assert!(
        place.status()["runs"][0]["faults"][0]["attached"][0]
            .as_str()
            .is_some_and(|text| text.contains("of lo"))
    );
    assert!(one_way(&place) >= Duration::from_millis(60));
    let (code, text) = finish(child);
    assert_eq!(code, 0, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert!(result["counts"]["sent"].as_u64().unwrap() >= 3, "{text}");
    assert!(result["evidence"][0]["acted"].as_u64().unwrap() >= 3, "{text}");
    assert_eq!(result["restored"]["outcome"], "as-before");
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let ignored = text.contains("this kernel ignored the seed");
    assert_eq!(ignored, release.starts_with("6.1."), "{release}: {text}");
    assert_eq!(root(&place), before);
    assert!(one_way(&place) < Duration::from_millis(60));
}

#[test]
fn a_dead_netem_is_healed_from_its_journal_and_ctrl_c_heals_at_once() {
    if !has_netem() {
        return skip("a_dead_netem_is_healed_from_its_journal_and_ctrl_c_heals_at_once");
    }
    let place = Place::new();
    let before = root(&place);
    let arguments = ["netem", "--dev", "lo", "--loss", "100%", "--for", "600s"];
    let mut killed = place.start(&arguments);
    assert_eq!(place.datagrams(7000, 5), 0);
    signal(&killed, Signal::SIGKILL);
    killed.wait().unwrap();
    let (code, text, _) = place.run(&["heal"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(root(&place), before);
    let child = place.start(&arguments);
    assert_eq!(place.datagrams(7000, 5), 0);
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("dropped 5"), "{text}");
    assert_eq!(root(&place), before);
    assert_eq!(place.datagrams(7000, 5), 5);
}

#[test]
fn a_root_qdisc_is_one_runs_alone() {
    let place = Place::new();
    let short = ["netem", "--dev", "lo", "--latency", "1ms", "--for", "10ms"];
    let refused = |what: &str| {
        let (code, _, text) = outcome(place.inject(&short).output().unwrap());
        assert_eq!(code, 3, "{text}");
        assert!(text.contains(what), "{text}");
    };
    let end = |child| {
        signal(&child, Signal::SIGINT);
        let (code, text) = finish(child);
        assert_eq!(code, 3, "{text}");
    };
    let alone = place.start(&["drop", "--remote-port", "7000", "--for", "600s", "--exclusive"]);
    refused("another run is at work on the root qdisc of lo");
    end(alone);
    // By flow, others compose with it; another netem would take its place.
    let flows = place.start(&["drop", "--remote-port", "7000", "--for", "600s"]);
    let (code, _, text) = outcome(place.inject(&short).output().unwrap());
    assert_eq!(code, if has_netem() { 2 } else { 4 }, "{text}");
    end(flows);
    if has_netem() {
        let first = place.start(&["netem", "--dev", "lo", "--loss", "100%", "--for", "600s"]);
        refused("another run is at work on the root qdisc of lo");
        end(first);
    }
}

#[test]
fn nobody_is_locked_out_unasked() {
    let place = Place::new();
    let deadly = ["netem", "--dev", "lo", "--loss", "50%", "--for", "1s", "--dry-run"];
    let slow = ["netem", "--dev", "lo", "--latency", "500ms", "--for", "1s", "--dry-run"];
    let asked = [&deadly[..], &["--even-if-locked-out"]].concat();
    let (ours, elsewhere) = ("127.0.0.1 50000 127.0.0.1 22", "192.0.2.7 50000 198.51.100.1 22");
    for (session, arguments, refused) in [
        (ours, &deadly[..], true),
        (ours, &slow[..], false),
        (ours, &asked[..], false),
        (elsewhere, &deadly[..], false),
    ] {
        let mut command = place.inject(arguments);
        let (code, _, text) = outcome(command.env("SSH_CONNECTION", session).output().unwrap());
        assert_eq!(text.contains("would cut you off"), refused, "{session} {arguments:?}: {text}");
        assert!(!refused || code == 4, "{code}");
    }
}

#[test]
fn absurd_netems_are_refused() {
    let place = Place::new();
    for (arguments, message) in [
        (&["--dev", "lo"][..], "would do nothing"),
        (&["--latency", "1ms"][..], "--dev"),
        (&["--dev", "l0", "--latency", "1ms"][..], "did you mean `lo`"),
        (&["--dev", "lo", "--latency", "-1ms"][..], "negative"),
        (&["--dev", "lo", "--jitter", "1ms"][..], "--latency"),
        (&["--dev", "lo", "--latency", "1ms", "--jitter", "3s"][..], "2.147483647"),
        (&["--dev", "lo", "--latency", "9000h"][..], "more than a year"),
        (&["--dev", "lo", "--loss", "101%"][..], "101%"),
        (&["--dev", "lo", "--loss-gemodel", "1%"][..], "two to four"),
        (&["--dev", "lo", "--ecn", "--latency", "1ms"][..], "--loss"),
        (&["--dev", "lo", "--gap", "0", "--latency", "1ms"][..], "at least 1"),
        (&["--dev", "lo", "--rate", "0bit"][..], "nothing would ever pass"),
        (&["--dev", "lo", "--latency", "1ms", "--limit", "0"][..], "limit"),
        (&["--dev", "lo", "--slot", "2ms,1ms"][..], "ends before it starts"),
        (
            &["--dev", "lo", "--latency", "2ms", "--jitter", "1ms", "--distribution", "norml"][..],
            "did you mean `normal`",
        ),
    ] {
        let arguments = [&["netem", "--for", "1s"], arguments].concat();
        let (code, _, text) = outcome(place.inject(&arguments).output().unwrap());
        assert_eq!(code, 64, "{arguments:?}: {text}");
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
    assert!(place.status()["runs"].as_array().unwrap().is_empty());
}

#[test]
fn an_experiment_slows_a_whole_device() {
    if !has_netem() {
        return skip("an_experiment_slows_a_whole_device");
    }
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments/lab.yaml");
    std::fs::copy(lab, folder.path().join("lab.yaml")).unwrap();
    let file = folder.path().join("slow.yaml");
    let text = "title: The server's device is slow\nlab: lab.yaml\nsteady-state-hypothesis:\n  \
                title: People connect\n  probes:\n    - name: connects\n      from: buyer\n      \
                during: [before, after]\n      provider: { type: tcp, host: server, port: 18083 \
                }\n      tolerance: true\nmethod:\n  - name: slow\n    type: action\n    \
                background: true\n    provider: { type: chaos, fault: netem, node: server, \
                devices: [eth0], latency: 50ms, jitter: 5ms, duration: 2s }\n  - name: ask\n    \
                type: probe\n    from: buyer\n    provider: { type: tcp, host: server, port: \
                18083, timeout: 20s }\n    tolerance: true\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let mut command = place.chaos(&["run", "--json", &file]);
    let (code, text, error) = outcome(command.current_dir(folder.path()).output().unwrap());
    assert_eq!(code, 0, "{text}\n{error}");
    let runs: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(runs[0]["verdict"], "PASS");
    assert_eq!(runs[0]["faults"][0]["rules"][0][0], "slow: eth0");
}

#[test]
fn a_whole_device_grows_over_the_ramp() {
    if !has_netem() {
        skip("a_whole_device_grows_over_the_ramp");
        return;
    }
    let place = Place::new();
    let before = root(&place);
    let start = |latency: &'static str, ramp: &'static str| {
        let arguments = ["netem", "--dev", "lo", "--latency", latency, "--ramp", ramp];
        place.start(&[&arguments[..], &["--for", "600s"]].concat())
    };
    let child = start("2s", "590s");
    let first = one_way(&place);
    assert!((Duration::from_millis(100)..Duration::from_secs(2)).contains(&first), "{first:?}");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
    let child = start("100ms", "100ms");
    let until = Instant::now() + Duration::from_mins(1);
    while one_way(&place) < Duration::from_millis(100) {
        assert!(Instant::now() < until, "it did not grow");
    }
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
    assert_eq!(root(&place), before);
}
