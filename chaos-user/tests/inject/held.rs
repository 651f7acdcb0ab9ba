//! `chaos inject delay`, `rate` and `reorder`: packets of chosen flows are held and come back.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use chaos::host;
use chaos::kernel::netlink::Netlink;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Place, finish, lease, outcome, signal};

const SETTINGS: [&str; 2] = ["route_localnet", "accept_local"];

pub(super) fn has_netem() -> bool {
    host::netem().unwrap().is_ok()
}

/// How long a datagram takes over the loopback; the best of three, since a machine that is held up
/// only makes it longer.
fn one_way(place: &Place, address: &str, port: u16) -> Duration {
    let once = || {
        let receiver = UdpSocket::bind((address, port)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sender = UdpSocket::bind((address, 0)).unwrap();
        let sent = Instant::now();
        sender.send_to(b"x", (address, port)).unwrap();
        receiver.recv(&mut [0; 8]).unwrap();
        sent.elapsed()
    };
    place.netns.run(|| (0..3).map(|_| once()).min().unwrap()).unwrap()
}

/// The devices, and the settings of the loopback.
pub(super) fn surroundings(place: &Place) -> (Vec<String>, Vec<String>) {
    let links = place.netns.block_on(|| async { Netlink::open().unwrap().links().await.unwrap() });
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/lo/{name}")).unwrap();
    let settings = place.netns.run(|| SETTINGS.map(read).to_vec()).unwrap();
    (links.unwrap().into_iter().map(|link| link.name).collect(), settings)
}

fn both_families_are_held_and_nothing_else(backend: &str) {
    const HELD: Duration = Duration::from_millis(60);
    let place = Place::new();
    let before = surroundings(&place);
    let arguments = [
        "delay",
        "--latency",
        "60ms",
        "--proto",
        "udp",
        "--remote-port",
        "7400",
        "--dev",
        "lo",
        "--backend",
        backend,
        "--for",
        "600s",
        "--json",
    ];
    let child = place.start(&arguments);
    assert_ne!(surroundings(&place), before);
    for address in ["127.0.0.1", "::1"] {
        assert!(one_way(&place, address, 7400) >= HELD, "{address} is held");
        assert!(one_way(&place, address, 7401) < HELD, "another port is not");
    }
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["evidence"][0]["acted"], 6, "{text}");
    let holder = result["held_by"][0].as_str().unwrap();
    if backend == "netem" {
        assert!(holder.starts_with("netem (chaosn"), "{holder}");
    } else {
        assert!(holder.starts_with("delay line (chaosd"), "{holder}");
    }
    let delay = &result["delays"][0];
    assert_eq!(delay["packets"], 6, "{text}");
    for key in ["mean_ns", "p50_ns", "p99_ns"] {
        assert!(delay[key].as_u64().unwrap() >= 59_900_000, "{key}: {text}");
    }
    assert_eq!(surroundings(&place), before, "all is as before");
    assert!(one_way(&place, "127.0.0.1", 7400) < HELD);
}

#[test]
fn the_delay_line_holds_both_families_and_nothing_else() {
    both_families_are_held_and_nothing_else("delay-line");
}

#[test]
fn netem_holds_both_families_and_nothing_else() {
    if !has_netem() {
        println!("CHAOS-SKIP netem_holds_both_families_and_nothing_else netem");
        return;
    }
    both_families_are_held_and_nothing_else("netem");
}

#[test]
fn a_killed_holder_lets_packets_pass_and_leaves_nothing() {
    let place = Place::new();
    let before = surroundings(&place);
    let mut child = place.start(&[
        "delay",
        "--latency",
        "50s",
        "--proto",
        "udp",
        "--remote-port",
        "7410",
        "--for",
        "600s",
    ]);
    assert_eq!(place.datagrams(7410, 3), 0, "they are held");
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let killed = Instant::now();
    while place.datagrams(7410, 1) == 0 {
        assert!(killed.elapsed() < lease(), "the lease did not run out");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A guardian may have been quicker.
    let (code, text, _) = place.run(&["heal"]);
    assert_eq!(code, 0, "{text}");
    let until = Instant::now() + Duration::from_secs(20);
    while surroundings(&place) != before {
        assert!(Instant::now() < until, "{:?}", surroundings(&place));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn several_at_once_add_up_and_the_last_restores_the_settings() {
    let place = Place::new();
    let before = surroundings(&place);
    let delay = |latency: &'static str| {
        ["delay", "--latency", latency, "--proto", "udp", "--remote-port", "7420", "--for", "600s"]
    };
    let one = place.start(&delay("30ms"));
    assert!(one_way(&place, "127.0.0.1", 7420) >= Duration::from_millis(30));
    let other = place.inject(&delay("50ms")).stdout(std::process::Stdio::piped()).spawn().unwrap();
    place.in_force(1);
    assert!(one_way(&place, "127.0.0.1", 7420) >= Duration::from_millis(80), "both hold it");
    signal(&one, Signal::SIGINT);
    assert_eq!(finish(one).0, 3);
    let left = one_way(&place, "127.0.0.1", 7420);
    assert!(left >= Duration::from_millis(50), "the other goes on: {left:?}");
    signal(&other, Signal::SIGINT);
    assert_eq!(finish(other).0, 3);
    assert_eq!(surroundings(&place), before);
}

fn a_slow_link(backend: &str) {
    let place = Place::new();
    let child = place.start(&[
        "rate",
        "--rate",
        "400kbit",
        "--proto",
        "udp",
        "--remote-port",
        "7430",
        "--backend",
        backend,
        "--for",
        "600s",
        "--json",
    ]);
    // 20 datagrams of about 1000 bytes: the last leaves after 20 × 20 ms.
    let took = place
        .netns
        .run(|| {
            let receiver = UdpSocket::bind("127.0.0.1:7430").unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let began = Instant::now();
            for _ in 0..20 {
                sender.send_to(&[0; 958], "127.0.0.1:7430").unwrap();
            }
            for _ in 0..20 {
                receiver.recv(&mut [0; 2000]).unwrap();
            }
            began.elapsed()
        })
        .unwrap();
    assert!(took >= Duration::from_millis(390), "{took:?}");
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["evidence"][0]["acted"], 20, "{text}");
    assert_eq!(result["delays"][0]["counters"]["dropped"], 0, "{text}");
}

#[test]
fn a_slow_link_takes_its_time() {
    a_slow_link("delay-line");
}

#[test]
fn a_slow_link_of_netem_takes_its_time() {
    if !has_netem() {
        println!("CHAOS-SKIP a_slow_link_of_netem_takes_its_time netem");
        return;
    }
    a_slow_link("netem");
}

#[test]
fn it_grows_over_the_ramp() {
    let place = Place::new();
    let child = place.start(&[
        "delay",
        "--latency",
        "2s",
        "--proto",
        "udp",
        "--remote-port",
        "7440",
        "--backend",
        "delay-line",
        "--ramp",
        "600s",
        "--for",
        "1200s",
    ]);
    // A twentieth at first.
    let first = one_way(&place, "127.0.0.1", 7440);
    assert!(first >= Duration::from_millis(100), "{first:?}");
    assert!(first < Duration::from_secs(2), "{first:?}");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
    let child = place.start(&[
        "delay",
        "--latency",
        "100ms",
        "--proto",
        "udp",
        "--remote-port",
        "7440",
        "--backend",
        "delay-line",
        "--ramp",
        "100ms",
        "--for",
        "600s",
    ]);
    let until = Instant::now() + Duration::from_secs(30);
    while one_way(&place, "127.0.0.1", 7440) < Duration::from_millis(100) {
        assert!(Instant::now() < until, "it did not grow");
    }
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
}

fn every_fifth_overtakes(backend: &str) {
    let place = Place::new();
    let child = place.start(&[
        "reorder",
        "--share",
        "100%",
        "--gap",
        "5",
        "--latency",
        "1s",
        "--proto",
        "udp",
        "--remote-port",
        "7450",
        "--backend",
        backend,
        "--for",
        "600s",
        "--json",
    ]);
    let order = place
        .netns
        .run(|| {
            let receiver = UdpSocket::bind("127.0.0.1:7450").unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..10_u8 {
                sender.send_to(&[number], "127.0.0.1:7450").unwrap();
            }
            let mut order = Vec::new();
            for _ in 0..10 {
                let mut byte = [0];
                receiver.recv(&mut byte).unwrap();
                order.push(byte[0]);
            }
            order
        })
        .unwrap();
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    assert_eq!(order.len(), 10);
    assert!(!order.is_sorted(), "every fifth overtakes: {order:?}");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10).collect::<Vec<u8>>(), "none is lost");
}

#[test]
fn some_overtake() {
    every_fifth_overtakes("delay-line");
}

#[test]
fn some_overtake_in_netem() {
    if !has_netem() {
        println!("CHAOS-SKIP some_overtake_in_netem netem");
        return;
    }
    every_fifth_overtakes("netem");
}

#[test]
fn what_cannot_be_held_is_refused_before_anything_is_touched() {
    let place = Place::new();
    let before = surroundings(&place);
    for (arguments, code, message) in [
        (&["delay"][..], 64, "--latency"),
        (&["delay", "--latency", "0s"][..], 64, "--latency"),
        (&["delay", "--latency=-5ms"][..], 64, "negative"),
        (&["delay", "--latency", "2h", "--backend", "delay-line"][..], 64, "at most 3600s"),
        (&["delay", "--latency", "1ms", "--limit", "0"][..], 64, "limit"),
        (&["delay", "--latency", "1ms", "--keep-order"][..], 64, "--jitter"),
        (&["delay", "--latency", "1ms", "--ramp", "2s"][..], 64, "never be whole"),
        (&["rate"][..], 64, "--rate"),
        (&["rate", "--rate", "1mbit", "--police", "--burst", "64M"][..], 64, "64MiB"),
        (&["rate", "--rate", "1mbit", "--queue", "0"][..], 64, "--police"),
        (&["rate", "--rate", "1mbit", "--burst", "9000"][..], 64, "--police"),
        (&["rate", "--rate", "1mbit", "--police", "--per-packet"][..], 64, "mean nothing"),
        (&["reorder", "--share", "0%"][..], 64, "overtakes nothing"),
        (&["reorder", "--share", "5%", "--gap", "0"][..], 64, "--gap"),
    ] {
        let arguments = [arguments, &["--for", "1s"]].concat();
        for rest in [&["--dry-run"][..], &[]] {
            let arguments = [&arguments[..], rest].concat();
            let (got, _, text) = outcome(place.inject(&arguments).output().unwrap());
            assert_eq!(got, code, "{arguments:?}: {text}");
            assert!(text.contains(message), "{arguments:?}: {text}");
            let twice =
                text.match_indices(": ").any(|(at, _)| text[..at].contains(text[at..].trim()));
            assert!(!twice, "the same cause twice: {text}");
        }
    }
    let netem = ["delay", "--latency", "1ms", "--backend", "netem", "--for", "10ms", "--dry-run"];
    let (code, _, text) = outcome(place.inject(&netem).output().unwrap());
    if has_netem() {
        assert_eq!(code, 0, "{text}");
    } else {
        assert_eq!(code, 4, "{text}");
        assert!(text.contains("no sch_netem") && text.contains("delay-line"), "{text}");
    }
    assert_eq!(surroundings(&place), before);
    assert!(place.status()["runs"].as_array().unwrap().is_empty());
}
