//! How soon a fault begins and ends for real traffic, between two namespaces made for it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use chaos::experiment::units::{Direction, Protocol, Span};
use chaos::fault::{NetworkFault, Session};
use chaos::host::boot_time;
use chaos::kernel::bpf::Mechanism;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Action, Loss, Rule, Selector};

use crate::link::{FAR_END, Link, NEAR_END};
use crate::report::{Report, Row};
use crate::stats::Spread;

const ROUNDS: usize = 5;

/// Between two packets; it bounds how finely the ends of the fault are seen.
const INTERVAL: Duration = Duration::from_micros(50);

const MOST_PACKETS: usize = 1_000_000;
const LONGEST: Duration = Duration::from_secs(50);
const SETTLE: Duration = Duration::from_millis(60);

/// Packets from one namespace to another.
struct Stream {
    near: NetNs,
    _far: NetNs,
    sender: UdpSocket,
    receiver: UdpSocket,
    to: SocketAddr,
}

/// One fault, from the call that starts it to the call that heals it; times in ns.
struct Round {
    start_call: u64,
    start_return: u64,
    first_event: u64,
    heal_call: u64,
    heal_return: u64,
    sent: Vec<u64>,
    lost: std::ops::Range<usize>,
}

/// Begins and ends a fault again and again while packets flow.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let link = Stream::new()?;
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&link)).collect::<Result<_>>()?;
    let us = |from: u64, to: u64| to as f64 / 1e3 - from as f64 / 1e3;
    let mut add = |name: &str, figure: &dyn Fn(&Round) -> f64| {
        let value = Spread::of(rounds.iter().map(figure));
        report.add(name, Row { unit: "µs".into(), value, ratio: None, aim: None });
    };
    add("start: call to first affected packet", &|round| us(round.start_call, round.first_event));
    add("start: call to return", &|round| us(round.start_call, round.start_return));
    add("start: last packet let through to first lost", &|round| {
        let before = round.lost.start.saturating_sub(1);
        us(round.sent[before], round.sent[round.lost.start])
    });
    add("heal: call to first packet let through", &|round| {
        us(round.heal_call, round.sent[round.lost.end])
    });
    add("heal: call to return", &|round| us(round.heal_call, round.heal_return));
    Ok(())
}

fn round(link: &Stream) -> Result<Round> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(link, &stop));
        let receiving = scope.spawn(|| receive(link, &stop));
        let faulted = fault(link);
        stop.store(true, Ordering::Relaxed);
        let sent = sending.join().map_err(|_| anyhow!("the sender panicked"))??;
        let arrived = receiving.join().map_err(|_| anyhow!("the receiver panicked"))??;
        let times = faulted?;
        let lost = lost(&sent, &arrived)?;
        ensure!(lost.start > 0 && lost.end < sent.len(), "the fault covered the whole stream");
        Ok(Round { sent, lost, ..times })
    })
}

fn fault(link: &Stream) -> Result<Round> {
    let fault = NetworkFault {
        name: "bench".into(),
        netns: link.near.clone(),
        rules: vec![Rule {
            name: "drop".into(),
            selector: Selector {
                direction: Direction::To,
                protocol: Some(Protocol::UDP),
                remote: vec![link.to.ip().into()],
                ..Selector::default()
            },
            action: Action::Drop(Loss::Always),
        }],
        lasts: Span::from_secs(5),
        seed: 1,
        mechanism: Mechanism::Auto,
        detours: chaos::fault::Detours::default(),
        ramp: Span::ZERO,
        trace_rate: 0,
    };
    std::thread::sleep(SETTLE);
    let start_call = boot_time();
    let mut active = Session::start(&format!("bench-{}", std::process::id()), &[fault])?;
    let start_return = boot_time();
    std::thread::sleep(SETTLE);
    active.drain_events();
    let first_event = active.events().map(|event| event.time).min().context("no fault event")?;
    let heal_call = boot_time();
    active.heal()?;
    let heal_return = boot_time();
    std::thread::sleep(SETTLE);
    Ok(Round {
        start_call,
        start_return,
        first_event,
        heal_call,
        heal_return,
        sent: Vec::new(),
        lost: 0..0,
    })
}

/// Sends numbered packets; returns when each was sent.
fn send(link: &Stream, stop: &AtomicBool) -> Result<Vec<u64>> {
    let mut sent: Vec<u64> = Vec::with_capacity(MOST_PACKETS);
    let begin = Instant::now();
    while !stop.load(Ordering::Relaxed) && sent.len() < MOST_PACKETS && begin.elapsed() < LONGEST {
        let now = boot_time();
        let number = sent.len() as u64;
        sent.push(now);
        link.sender.send_to(&number.to_be_bytes(), link.to).context("send a packet")?;
        // Not spinning: the session that is measured needs the CPUs.
        std::thread::sleep(INTERVAL);
    }
    Ok(sent)
}

/// The numbers of the packets that arrive.
fn receive(link: &Stream, stop: &AtomicBool) -> Result<Vec<usize>> {
    let mut arrived = Vec::with_capacity(MOST_PACKETS);
    let begin = Instant::now();
    let mut number = [0; 8];
    loop {
        match link.receiver.recv(&mut number) {
            Ok(8) => arrived.push(u64::from_be_bytes(number) as usize),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) || begin.elapsed() > LONGEST {
                    return Ok(arrived);
                }
            }
            Err(error) => return Err(error).context("receive a packet"),
        }
    }
}

/// The packets that did not arrive; they must be one run, or something else lost packets too.
fn lost(sent: &[u64], arrived: &[usize]) -> Result<std::ops::Range<usize>> {
    let mut there = vec![false; sent.len()];
    for &number in arrived {
        if let Some(there) = there.get_mut(number) {
            *there = true;
        }
    }
    let first = there.iter().position(|there| !there).context("no packet was lost")?;
    let end = there.iter().rposition(|there| !there).map_or(first, |last| last + 1);
    let inside = there[first..end].iter().filter(|&&there| there).count();
    ensure!(inside == 0, "{inside} packets arrived between the first and the last lost one");
    Ok(first..end)
}

impl Stream {
    fn new() -> Result<Self> {
        let Link { near, far } = Link::up()?;
        let sender = near.run(|| UdpSocket::bind((NEAR_END, 0)))??;
        let receiver = far.run(|| UdpSocket::bind((FAR_END, 0)))??;
        receiver.set_read_timeout(Some(Duration::from_millis(30)))?;
        nix::sys::socket::setsockopt(
            &receiver,
            nix::sys::socket::sockopt::RcvBufForce,
            &(64 << 20),
        )?;
        let to = SocketAddr::new(IpAddr::from(FAR_END), receiver.local_addr()?.port());
        // Neighbours find each other before anything is measured.
        sender.send_to(&[0], to)?;
        let mut greeting = [0];
        receiver.recv(&mut greeting).context("the link carries nothing")?;
        Ok(Self { near, sender, receiver, to, _far: far })
    }
}
