//! TCP throughput through the line against the same veth pair without it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use chaos::kernel::delay_line::{Config, Segmentation};

use crate::bed::{Bed, Direction, Family, NEAR, latency, slot};

const FAULTY: u16 = 9100;
const PLAIN: u16 = 9101;
const ROUNDS: usize = 5;
const PERIOD: Duration = Duration::from_millis(1_500);

pub(crate) fn run() {
    for segmentation in [Segmentation::Offloaded, Segmentation::PerPacket] {
        let mut bed = Bed::new(&Config { segmentation, ..Config::default() });
        bed.catch(NEAR, Direction::Egress);
        bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, latency(1.0));
        let (mut plain, mut delayed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(throughput(&bed, PLAIN));
            delayed.push(throughput(&bed, FAULTY));
        }
        let [plain, delayed] = [plain, delayed].map(median);
        println!(
            "\nTCP through 1 ms, {segmentation:?}: {delayed:.2} of {plain:.2} Gbit/s = {:.0} % \
             (aim 60 % offloaded)",
            delayed / plain * 100.0
        );
        let counters = bed.line().evidence(slot(1)).unwrap().unwrap().counters;
        println!("  {:?} {counters:?}", bed.line().status().unwrap());

        let beside = thread::scope(|scope| {
            let delayed = scope.spawn(|| throughput(&bed, FAULTY));
            (throughput(&bed, PLAIN), delayed.join().unwrap())
        });
        println!("  both at once: plain {:.2}, delayed {:.2} Gbit/s", beside.0, beside.1);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Gbit/s that the receiver saw.
fn throughput(bed: &Bed, port: u16) -> f64 {
    let at = SocketAddr::new(Family::V4.far(), port);
    let listener = bed.far.run(|| TcpListener::bind(at).unwrap()).unwrap();
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
    let mut stream = bed.near.run(|| TcpStream::connect(at).unwrap()).unwrap();
    let (buffer, started) = (vec![7; 1 << 20], Instant::now());
    while started.elapsed() < PERIOD {
        stream.write_all(&buffer).unwrap();
    }
    drop(stream);
    receiver.join().unwrap()
}
