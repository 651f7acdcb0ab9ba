//! `chaos inject drop --ramp`: a loss that grows.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Place, finish, signal};

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
fn copies_grow_over_the_ramp() {
    let place = Place::new();
    let arguments = ["duplicate", "--ramp", "600s", "--for", "1200s"];
    let child = place.start(&[&arguments, &SELECTOR[..]].concat());
    let arrived = arrived_of(&place, 1000);
    assert!((1001..1500).contains(&arrived), "a twentieth at first: {arrived}");
    signal(&child, Signal::SIGINT);
    assert_eq!(finish(child).0, 3);
}
