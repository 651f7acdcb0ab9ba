//! How long packets take one way, by the receiving kernel's timestamps.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};

/// From before the send call until the far kernel received, for packets at a steady rate, of those that
/// arrive. The sender is connected to where the receiver is bound.
pub(crate) fn one_way(
    sender: &UdpSocket,
    receiver: UdpSocket,
    rate: u64,
    count: usize,
) -> Vec<i64> {
    receiver.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    setsockopt(&receiver, ReceiveTimestampns, &true).unwrap();
    // The receiving thread may have to wait for a CPU.
    setsockopt(&receiver, RcvBufForce, &(16 << 20)).unwrap();
    let receiving =
        thread::spawn(move || (0..count).map_while(|_| receive(&receiver)).collect::<Vec<_>>());
    let mut ticks = Ticks::new(rate);
    for _ in 0..count {
        ticks.next();
        sender.send(&realtime().to_le_bytes()).unwrap();
    }
    receiving.join().unwrap()
}

/// How late a thread wakes that does nothing but wait for a timer as often.
pub(crate) fn timer_lateness(rate: u64, count: usize) -> Vec<i64> {
    let mut ticks = Ticks::new(rate);
    let lateness = |_| {
        let due = ticks.next();
        monotonic().saturating_sub(due).cast_signed()
    };
    (0..count).map(lateness).collect()
}

fn realtime() -> i64 {
    Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).unwrap()).as_nanos() as i64
}

fn monotonic() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos() as u64
}

/// `None` once nothing arrives any more: some who delay drop what they have no room for.
fn receive(socket: &UdpSocket) -> Option<i64> {
    let mut sent = [0; 8];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(&mut sent)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty());
    let message = match message {
        Err(Errno::EAGAIN) => return None,
        message => message.unwrap(),
    };
    let stamp = message.cmsgs().unwrap().find_map(|one| match one {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    });
    let received = Duration::from(stamp.unwrap()).as_nanos() as i64;
    Some(received - i64::from_le_bytes(sent))
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
