//! What delays cost: TCP through a delay, and flows that were not chosen while others are held.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chaos::experiment::units::{Protocol, Span};
use chaos::fault::{Active, Backend};
use chaos::plan::Impairment;

use crate::link::{FAR_END, Link};
use crate::product::{backends, hold, sockets};

const HELD: u16 = 9100;
const PLAIN: u16 = 9101;
const ROUNDS: usize = 7;
const PERIOD: Duration = Duration::from_secs(1);
/// A few per cent are less than what rounds differ by: their median needs many.
const BESIDE_ROUNDS: usize = 31;
const BESIDE_PERIOD: Duration = Duration::from_millis(500);

pub(crate) fn run() {
    for backend in backends() {
        let link = Link::up().unwrap();
        through(&link, backend);
        beside(&link, backend);
    }
}

fn milli() -> Impairment {
    Impairment { latency: Span::from_ms(1), ..Impairment::default() }
}

/// One connection through 1 ms, and one on the same link that no rule is about.
fn through(link: &Link, backend: Backend) {
    let active = hold(link, backend, Protocol::TCP, &[(HELD, milli())]);
    let (mut plain, mut held) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(throughput(link, PLAIN, PERIOD));
        held.push(throughput(link, HELD, PERIOD));
    }
    active.heal().unwrap();
    let [plain, held] = [plain, held].map(median);
    println!(
        "\nTCP through 1 ms, {backend}: {held:.2} of {plain:.2} Gbit/s = {:.0} % (aim 60)",
        held / plain * 100.0
    );
}

/// A connection that was not chosen, while 1000 datagrams a second are held; and without a fault.
fn beside(link: &Link, backend: Backend) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..BESIDE_ROUNDS {
        without.push(while_sending(link, None));
        let active = hold(link, backend, Protocol::UDP, &[(HELD, milli())]);
        with.push(while_sending(link, Some(&active)));
        active.heal().unwrap();
    }
    let ratios = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let [without, with, ratio] = [without, with, ratios].map(median);
    println!(
        "flows not chosen, {backend}: {with:.2} Gbit/s while others are held, {without:.2} without a \
         fault; median of the rounds' ratios {:.1} % (aim 97)",
        ratio * 100.0
    );
}

fn while_sending(link: &Link, active: Option<&Active>) -> f64 {
    let stop = AtomicBool::new(false);
    let (sender, _receiver) = sockets(link, HELD);
    let speed = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sender.send(&[0; 18]);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let speed = throughput(link, PLAIN, BESIDE_PERIOD);
        stop.store(true, Ordering::Relaxed);
        speed
    });
    if let Some(active) = active {
        assert!(active.evidence().unwrap()[0].acted > 0, "nothing was held");
    }
    speed
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Gbit/s that the receiver saw.
fn throughput(link: &Link, port: u16, period: Duration) -> f64 {
    let listener = link.far.run(|| TcpListener::bind((FAR_END, port)).unwrap()).unwrap();
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 20];
        let (mut bytes, started) = (0_u64, Instant::now());
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return bytes as f64 * 8.0 / started.elapsed().as_secs_f64() / 1e9,
                length => bytes += length as u64,
            }
        }
    });
    let mut stream = link.near.run(|| TcpStream::connect((FAR_END, port)).unwrap()).unwrap();
    let (buffer, started) = (vec![7; 1 << 20], Instant::now());
    while started.elapsed() < period {
        stream.write_all(&buffer).unwrap();
    }
    drop(stream);
    receiver.join().unwrap()
}
