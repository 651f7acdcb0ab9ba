//! `--ramp`: faults that grow.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Place, finish, outcome, signal};

const SELECTOR: [&str; 4] = ["--proto", "udp", "--remote-port", "7450"];

/// How many of so many datagrams do not arrive.
fn lost_of(place: &Place, count: usize) -> usize {
    count - arrived_of(place, count)
}

/// How many arrive of so many datagrams.
fn arrived_of(place: &Place, count: usize) -> usize {
    let send = || {
        let receiver = UdpSocket::bind("127.0.0.1:7450").unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut arrived = 0;
        for _ in 0..count {
            sender.send_to(b"x", "127.0.0.1:7450").unwrap();
            arrived += usize::from(receiver.recv(&mut [0; 8]).is_ok());
        }
        // A busy machine may deliver late.
        receiver.set_nonblocking(false).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while receiver.recv(&mut [0; 8]).is_ok() {
            arrived += 1;
        }
        arrived
    };
    place.netns.run(send).unwrap()
}

#[test]
fn a_loss_grows_over_the_ramp() {
    let place = Place::new();
    let start = |ramp: &[&str]| place.start(&[&["drop"], &SELECTOR[..], ramp].concat());
    // A twentieth at first.
    let child = start(&["--ramp", "600s", "--for", "1200s"]);
    let lost = lost_of(&place, 1000);
    assert!((1..500).contains(&lost), "{lost}");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
    let child = start(&["--ramp", "100ms", "--for", "600s"]);
    let until = Instant::now() + Duration::from_secs(30);
    // So many are never lost together by chance, not at the last step before the whole either.
    while lost_of(&place, 1000) < 1000 {
        assert!(Instant::now() < until, "it did not grow");
    }
    assert_eq!(lost_of(&place, 100), 100, "it stays whole");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
    assert_eq!(lost_of(&place, 100), 0);
}

#[test]
fn a_rate_that_polices_shrinks_step_by_step() {
    /// Of a datagram of one byte.
    const FRAME: u64 = 43;
    const BURST: u64 = 1514;
    const BYTES_PER_SECOND: u64 = 10_000;
    let place = Place::new();
    // It grows from some moment after this one.
    let mut last = Instant::now();
    let child = place.start(
        &[
            &["rate", "--rate", "80kbit", "--police", "--burst", "1514", "--json"],
            &SELECTOR[..],
            &["--ramp", "3s", "--for", "600s"],
        ]
        .concat(),
    );
    let (mut sent, mut passed, mut between, mut away) = (0, 0, false, false);
    let begin = Instant::now();
    loop {
        // The bucket is full again after 152 ms, at every step.
        std::thread::sleep(Duration::from_millis(200));
        let blast = Instant::now();
        let arrived = arrived_of(&place, 1000) as u64;
        let earned = (blast.elapsed().as_secs_f64() * BYTES_PER_SECOND as f64) as u64;
        (sent, passed) = (sent + 1000, passed + arrived);
        // A machine that looks away for so long, or takes so long to see that it has begun, may miss all the
        // steps.
        away |= last.elapsed() > Duration::from_secs(2);
        last = Instant::now();
        if arrived <= (BURST + earned) / FRAME + 1 {
            break;
        }
        between |= arrived < 20 * BURST / FRAME;
        assert!(begin.elapsed() < Duration::from_mins(1), "it stays at {arrived} of 1000");
    }
    assert!(between || away, "it went from twenty times the rate to the rate at once");
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    let outcome: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(outcome["ramp"], "3s");
    let evidence = &outcome["evidence"][0];
    assert_eq!((&evidence["matched"], &evidence["acted"]), (&sent.into(), &(sent - passed).into()));
    assert_eq!(arrived_of(&place, 100), 100);
}

#[test]
fn a_ramp_is_told_before_it_begins_and_fits_into_the_fault() {
    let place = Place::new();
    let faults: [&[&str]; 4] = [
        &["drop"],
        &["corrupt", "--share", "5%"],
        &["rate", "--rate", "1mbit", "--police"],
        &["delay", "--latency", "5ms", "--backend", "delay-line"],
    ];
    for fault in faults {
        let dry_run = |ramp: &str, more: &[&str]| {
            let arguments = [fault, &["--ramp", ramp, "--for", "2s", "--dry-run"], more].concat();
            outcome(place.inject(&arguments).output().unwrap())
        };
        let (code, text, error) = dry_run("1s", &["--json"]);
        assert_eq!(code, 0, "{fault:?}: {error}");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["ramp"], "1s", "{text}");
        let (code, text, _) = dry_run("2s", &[]);
        assert_eq!(code, 0, "{fault:?}");
        assert!(text.contains("for 2s, growing for 2s, seed"), "{text}");
        let (code, _, error) = dry_run("3s", &[]);
        assert_eq!(code, 64, "{fault:?}: {error}");
        assert!(error.contains("--ramp: growing for 3s"), "{error}");
        let (_, text, _) = dry_run("0s", &["--json"]);
        assert!(serde_json::from_str::<Value>(&text).unwrap()["ramp"].is_null(), "{text}");
    }
}

#[test]
fn copies_grow_over_the_ramp() {
    let place = Place::new();
    let arguments = ["duplicate", "--ramp", "600s", "--for", "1200s"];
    let child = place.start(&[&arguments, &SELECTOR[..]].concat());
    let arrived = arrived_of(&place, 1000);
    assert!((1001..1500).contains(&arrived), "a twentieth at first: {arrived}");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
}
