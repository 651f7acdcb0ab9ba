//! How far delays are from what was asked for, one way, by the receiving kernel's timestamps.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use chaos::kernel::delay_line::Config;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};

use crate::bed::{Bed, Direction, Family, NEAR, latency, monotonic, slot};
use crate::sample::Sample;

const FAULTY: u16 = 9000;
const PLAIN: u16 = 9001;
const ROUNDS: usize = 5;

pub(crate) fn run() {
    println!("hold error: one way, minus the configured delay, minus the plain median");
    println!("(timerfd: how late a thread wakes that does nothing but wait for a timer as often)");
    // (delay in ms, packets per second, packets per round)
    for (millis, rate, count) in [
        (0.1, 100, 100),
        (0.1, 1_000, 500),
        (1.0, 100, 100),
        (1.0, 1_000, 500),
        (1.0, 10_000, 4_000),
        (10.0, 1_000, 500),
        (10.0, 10_000, 4_000),
        (100.0, 1_000, 500),
        (2_000.0, 1_000, 500),
    ] {
        let (mut line, mut plain, mut timer) =
            (Sample::default(), Sample::default(), Sample::default());
        let mut bed = Bed::new(&Config::default());
        bed.catch(NEAR, Direction::Egress);
        bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, latency(millis));
        for _ in 0..ROUNDS {
            plain.extend(one_way(&bed, PLAIN, rate, count));
            line.extend(one_way(&bed, FAULTY, rate, count));
            timer.extend(timer_lateness(rate, count));
        }
        let correction = (millis * 1_000_000.0) as i64 + (plain.quantile(0.5) * 1000.0) as i64;
        let mut error = Sample::default();
        error.extend(line.values().map(|nanos| nanos - correction));
        let (error, timer) = (error.summary(), timer.summary());
        println!("\n{millis} ms at {rate}/s");
        println!("  plain   {}", plain.summary());
        println!("  error   {error}");
        println!("  timerfd {timer}");
        println!(
            "  p50 {:.1} µs (aim 30)   p99 / timerfd's {:.2} (aim 1.2)",
            error.p50,
            error.p99 / timer.p99
        );
        let evidence = bed.line().evidence(slot(1)).unwrap().unwrap();
        println!(
            "  lateness by the line itself: p50 {:?} p99 {:?} max {:?}, {} of {} late, {:?}",
            evidence.lateness.quantile(0.5).unwrap(),
            evidence.lateness.quantile(0.99).unwrap(),
            evidence.lateness.max().unwrap(),
            evidence.counters.late,
            evidence.counters.released,
            bed.line().status().unwrap().scheduling,
        );
    }
}

fn realtime() -> i64 {
    Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).unwrap()).as_nanos() as i64
}

/// From before the send call until the far kernel received, for packets at a steady rate.
fn one_way(bed: &Bed, port: u16, rate: u64, count: usize) -> Vec<i64> {
    let at = SocketAddr::new(Family::V4.far(), port);
    let receiver = bed.far.run(|| UdpSocket::bind(at).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    setsockopt(&receiver, ReceiveTimestampns, &true).unwrap();
    // The receiving thread may have to wait for a CPU.
    setsockopt(&receiver, RcvBufForce, &(16 << 20)).unwrap();
    let sender = bed.near.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect(at).unwrap();
    let receiving =
        thread::spawn(move || (0..count).map(|_| receive(&receiver)).collect::<Vec<_>>());
    let mut ticks = Ticks::new(rate);
    for _ in 0..count {
        ticks.next();
        sender.send(&realtime().to_le_bytes()).unwrap();
    }
    receiving.join().unwrap()
}

fn receive(socket: &UdpSocket) -> i64 {
    let mut sent = [0; 8];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut sent)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())
            .unwrap();
    let stamp = message.cmsgs().unwrap().find_map(|one| match one {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    });
    let received = Duration::from(stamp.unwrap()).as_nanos() as i64;
    received - i64::from_le_bytes(sent)
}

/// A timer at a steady rate.
struct Ticks {
    timer: TimerFd,
    next: u64,
    step: u64,
}

impl Ticks {
    fn new(rate: u64) -> Self {
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, TimerFlags::empty()).unwrap();
        Self { timer, next: monotonic(), step: 1_000_000_000 / rate }
    }

    /// Waits for the next tick and answers when it was due.
    fn next(&mut self) -> u64 {
        self.next += self.step;
        let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(self.next)));
        self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).unwrap();
        self.timer.wait().unwrap();
        self.next
    }
}

fn timer_lateness(rate: u64, count: usize) -> Vec<i64> {
    let mut ticks = Ticks::new(rate);
    let lateness = |_| {
        let due = ticks.next();
        monotonic().saturating_sub(due).cast_signed()
    };
    (0..count).map(lateness).collect()
}
