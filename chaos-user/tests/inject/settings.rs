//! What settings of `chaos inject delay` do to a burst of packets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::held::has_netem;
use super::mishaps::set_mtu;
use super::{Place, finish, signal};

const PATIENCE: Duration = Duration::from_mins(1);
const LINE: &str = "delay-line";

/// Starts a delay until it is interrupted, and says what it showed then.
fn under(place: &Place, backend: &str, arguments: &[&str], work: impl FnOnce()) -> Value {
    let rest = ["--dev", "lo", "--backend", backend, "--for", "600s", "--json"];
    let child = place.start(&[&["delay"], arguments, &rest].concat());
    work();
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The order in which numbered datagrams arrive that are sent at once.
fn order(place: &Place, port: u16, count: u8) -> Vec<u8> {
    let burst = || {
        let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..count {
            sender.send_to(&[number], ("127.0.0.1", port)).unwrap();
        }
        let one = |_| {
            let mut byte = [0];
            receiver.recv(&mut byte).unwrap();
            byte[0]
        };
        (0..count).map(one).collect()
    };
    place.netns.run(burst).unwrap()
}

#[test]
fn jitter_changes_the_order_unless_it_is_to_be_kept() {
    let place = Place::new();
    let jitter = ["--latency", "40ms", "--jitter", "40ms", "--proto", "udp"];
    for (port, keep) in [(7600, &[][..]), (7601, &["--keep-order"][..])] {
        let text = port.to_string();
        let arguments = [&jitter[..], &["--remote-port", &text], keep].concat();
        let mut arrived = Vec::new();
        let result = under(&place, LINE, &arguments, || arrived = order(&place, port, 40));
        // By chance they would be in order once in 40! bursts.
        assert_eq!(arrived.is_sorted(), !keep.is_empty(), "{arrived:?}");
        assert_eq!(result["delays"][0]["counters"]["released"], 40, "{result}");
    }
}

#[test]
fn jitter_of_a_distribution_changes_the_order_in_netem() {
    if !has_netem() {
        println!("CHAOS-SKIP jitter_of_a_distribution_changes_the_order_in_netem netem");
        return;
    }
    let place = Place::new();
    let jitter = ["--latency", "40ms", "--jitter", "10ms", "--distribution", "normal"];
    let arguments = [&jitter[..], &["--proto", "udp", "--remote-port", "7602"]].concat();
    let mut arrived = Vec::new();
    let result = under(&place, "netem", &arguments, || arrived = order(&place, 7602, 40));
    assert!(!arrived.is_sorted(), "{arrived:?}");
    let delay = &result["delays"][0];
    assert_eq!(delay["packets"], 40, "{result}");
    assert!(delay["p50_ns"].as_u64() >= delay["least_ns"].as_u64(), "{result}");
}

/// Sends a stream over the loopback. Its packets are cut to the size of the wire only on their way.
fn stream(place: &Place, port: u16, bytes: usize) {
    let transfer = || {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut sender = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut receiver = listener.accept().unwrap().0;
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.write_all(&vec![7; bytes]).unwrap());
            receiver.read_exact(&mut vec![0; bytes]).unwrap();
        });
    };
    place.netns.run(transfer).unwrap();
}

#[test]
fn a_burst_of_segments_is_held_as_one_or_packet_by_packet() {
    const BYTES: usize = 300_000;
    let place = Place::new();
    set_mtu(&place.netns, "lo", 1500);
    for (port, each) in [(7610, &[][..]), (7611, &["--per-packet"][..])] {
        let text = port.to_string();
        let which = ["--latency", "5ms", "--proto", "tcp", "--remote-port", &text];
        let result =
            under(&place, LINE, &[&which[..], each].concat(), || stream(&place, port, BYTES));
        let acted = result["evidence"][0]["acted"].as_u64().unwrap();
        let held = result["delays"][0]["counters"]["released"].as_u64().unwrap();
        if each.is_empty() {
            assert!(held <= acted, "bursts stay whole: {result}");
        } else {
            // No packet of a wire of 1500 bytes carries more.
            assert!(held >= (BYTES / 1460) as u64 && held > acted, "{result}");
        }
    }
}

#[test]
fn threads_share_the_ways_of_a_rule() {
    const COUNT: u8 = 40;
    let place = Place::new();
    let which = ["--latency", "5ms", "--proto", "udp", "--direction", "both"];
    let how = ["--threads", "2", "--spin", "0s", "--priority", "0"];
    let mut arrived = Vec::new();
    let result =
        under(&place, LINE, &[&which[..], &how].concat(), || arrived = order(&place, 7620, COUNT));
    assert_eq!(arrived.len(), usize::from(COUNT));
    assert!(arrived.is_sorted(), "a way belongs to one thread: {arrived:?}");
    // As they leave the loopback device, and as they arrive there.
    let delay = &result["delays"][0];
    assert_eq!(delay["counters"]["released"], 2 * COUNT, "{result}");
    assert_eq!(delay["packets"], 2 * COUNT, "the kernel measures all of them: {result}");
    assert!(result["held_by"][0].as_str().unwrap().ends_with(", 2 ordinary threads)"), "{result}");
}
