//! Numbered datagrams over the loopback.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

/// A guest that is held up by its host spoils a measurement; it does not mend one. So one good
/// measurement out of these is proof.
pub(crate) const ATTEMPTS: usize = 8;

/// Nothing is held longer than this.
const PATIENCE: Duration = Duration::from_millis(800);

/// A sender and a receiver on 127.0.0.1.
pub(crate) struct Pipe {
    from: UdpSocket,
    to: UdpSocket,
}

impl Pipe {
    /// A pipe of which the packets have this priority, which names a class.
    pub(crate) fn new(priority: u32) -> Self {
        let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        from.connect(to.local_addr().unwrap()).unwrap();
        setsockopt(&to.as_fd(), sockopt::RcvBufForce, &(4 << 20)).unwrap();
        let priority = priority.cast_signed();
        setsockopt(&from.as_fd(), sockopt::Priority, &priority).unwrap();
        to.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { from, to }
    }

    /// Sends `count` datagrams, one per `pace`, and tells how long each that arrived took.
    pub(crate) fn latencies(&self, count: usize, pace: Duration) -> Vec<Duration> {
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..count {
                    let due = pace * i as u32;
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                    let sent = start.elapsed().as_nanos() as u64;
                    self.from.send(&sent.to_ne_bytes()).unwrap();
                }
            });
            let mut times = Vec::new();
            let mut buffer = [0; 8];
            while times.len() < count && self.to.recv(&mut buffer).is_ok() {
                let sent = Duration::from_nanos(u64::from_ne_bytes(buffer));
                times.push(start.elapsed().saturating_sub(sent));
            }
            times
        })
    }

    /// Sends `count` numbered datagrams and tells which arrived.
    pub(crate) fn arrivals(&self, count: usize) -> Vec<u64> {
        for i in 0..count as u64 {
            // Loss shows as ENOBUFS where the qdisc tells the sender; it has done its work then.
            let _ = self.from.send(&i.to_ne_bytes());
        }
        let mut arrived = Vec::new();
        let mut buffer = [0; 8];
        while self.to.recv(&mut buffer).is_ok() {
            arrived.push(u64::from_ne_bytes(buffer));
        }
        arrived
    }
}
