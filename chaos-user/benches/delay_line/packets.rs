//! Small datagrams per second and core of the worker.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use chaos::kernel::delay_line::Config;
use nix::time::{ClockId, clock_gettime};

use crate::bed::{Bed, Direction, Family, NEAR, latency, slot};

const FAULTY: u16 = 9200;
const PLAIN: u16 = 9201;
const PERIOD: Duration = Duration::from_secs(3);

pub(crate) fn run() {
    for realtime in [0, 10] {
        let mut bed = Bed::new(&Config { realtime, ..Config::default() });
        bed.catch(NEAR, Direction::Egress);
        bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, latency(1.0));
        let (plain, busy) = flood(&bed, PLAIN);
        println!("\nsmall UDP through 1 ms, real-time priority {realtime}:");
        println!(
            "  plainly {:.3} M/s, {:.3} M per second of the sender's CPU time",
            plain / 1e6,
            plain / busy / 1e6
        );
        let before = worker_time();
        let started = Instant::now();
        let (sent, _) = flood(&bed, FAULTY);
        let elapsed = started.elapsed().as_secs_f64();
        let busy = worker_time().saturating_sub(before).as_secs_f64();
        let counters = bed.line().evidence(slot(1)).unwrap().unwrap().counters;
        let status = bed.line().status().unwrap();
        println!("  to the line {:.3} M/s", sent / 1e6);
        let released = counters.released as f64;
        println!(
            "  released {:.3} M/s; {:.3} M per second of the worker's CPU time (aim 0.5)",
            released / elapsed / 1e6,
            released / busy / 1e6,
        );
        println!(
            "  overruns in the kernel {:?}, {counters:?}, {:?}",
            status.overruns, status.scheduling
        );
    }
}

/// Sends as fast as one thread can; answers packets per second, and the share of a CPU it had.
fn flood(bed: &Bed, port: u16) -> (f64, f64) {
    let at = SocketAddr::new(Family::V4.far(), port);
    // Nobody reads: what does not fit is dropped there.
    let _receiver = bed.far.run(|| UdpSocket::bind(at).unwrap()).unwrap();
    let sender = bed.near.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect(at).unwrap();
    let (started, before, mut sent) = (Instant::now(), own_time(), 0_u64);
    while started.elapsed() < PERIOD {
        for _ in 0..256 {
            sent += u64::from(sender.send(&[0; 18]).is_ok());
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    let busy = own_time().saturating_sub(before).as_secs_f64();
    (sent as f64 / elapsed, busy / elapsed)
}

/// CPU time of this thread.
fn own_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// CPU time of the worker thread.
fn worker_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let worker = tasks.map(|task| task.path()).find(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "chaos-delay")
    });
    let times = fs::read_to_string(worker.unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(times.split_whitespace().next().unwrap().parse().unwrap())
}
