//! Whether as many packets are lost as was asked for.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use chaos::experiment::units::Percent;
use chaos::plan::Loss;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::link::Link;
use crate::product::{lose, sockets};

const FIRST: u16 = 9300;
const PACKETS: u32 = 50_000;
/// In parts per 10^9.
const SHARES: [u32; 4] = [1_000_000, 10_000_000, 100_000_000, 500_000_000];

pub(crate) fn run() {
    println!("\nlosses: {PACKETS} packets each; lost is what did not arrive");
    let link = Link::up().unwrap();
    let share = |ppb| Percent::from_ppb(ppb).unwrap();
    let kinds = SHARES.map(|ppb| [Loss::Random(share(ppb)), Loss::Exact(share(ppb))]);
    let ports: Vec<(u16, Loss)> = (FIRST..).zip(kinds.into_iter().flatten()).collect();
    let active = lose(&link, &ports);
    let lost: Vec<u64> = ports.iter().map(|(port, _)| count_lost(&link, *port)).collect();
    for ((evidence, lost), (_, loss)) in active.heal().unwrap().iter().zip(lost).zip(&ports) {
        let (p, exact) = match loss {
            Loss::Random(share) => (share.fraction(), false),
            Loss::Exact(share) => (share.fraction(), true),
            _ => continue,
        };
        let wanted = p * f64::from(PACKETS);
        let off = lost as f64 - wanted;
        let sigma = if exact { 0.0 } else { (wanted * (1.0 - p)).sqrt() };
        let verdict = if off.abs() <= 3.0 * sigma { "met" } else { "MISSED" };
        let kind = if exact { "exactly" } else { "randomly" };
        println!(
            "  {kind:<8} {:>5} %: lost {lost} of {wanted} wanted, {off:+} (3 sigma {:.0}): {verdict}; \
             the rule counted {}",
            p * 100.0,
            3.0 * sigma,
            evidence.acted,
        );
        assert_eq!(evidence.acted, lost, "the evidence is not what the network saw");
    }
}

fn count_lost(link: &Link, port: u16) -> u64 {
    let (sender, receiver) = sockets(link, port);
    setsockopt(&receiver, RcvBufForce, &(64 << 20)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let counting = thread::spawn(move || count(&receiver));
    for sent in 0..PACKETS {
        sender.send(b"x").unwrap();
        if sent % 256 == 0 {
            thread::yield_now();
        }
    }
    u64::from(PACKETS) - counting.join().unwrap()
}

/// Until none came for a while.
fn count(receiver: &UdpSocket) -> u64 {
    let mut buffer = [0; 8];
    let mut arrived = 0;
    while receiver.recv(&mut buffer).is_ok() {
        arrived += 1;
    }
    arrived
}
