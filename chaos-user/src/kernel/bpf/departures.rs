//! What the programs and a delay line know of the packets on their way between them.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use chaos_common::detour::{NO_NUMBER, Queue};

use super::slab::Slab;

/// Memory that an object's programs write when they send packets to a delay line, and read to know
/// whether its queue has room. See [`DetourVia::line`](super::DetourVia::line).
#[derive(Debug)]
pub struct Departures {
    queue: Slab<Queue>,
    times: Slab<u64>,
}

impl Departures {
    pub(super) fn new(queue: Slab<Queue>, times: Slab<u64>) -> Self {
        Self { queue, times }
    }

    /// At most `room` packets wait to be read from now on; those that come then pass, and are counted as
    /// detours that failed. `per_packet` says that super-packets are cut on the way.
    pub fn limit(&self, room: u64, per_packet: bool) {
        self.queue.publish(offset_of!(Queue, per_packet), u64::from(per_packet));
        self.queue.publish(offset_of!(Queue, room), room);
    }

    /// How many packets were sent to the line.
    pub fn sent(&self) -> u64 {
        self.queue.word(offset_of!(Queue, sent)).load(Ordering::Acquire)
    }

    /// One more was read.
    pub fn take(&self) {
        self.taken().fetch_add(1, Ordering::AcqRel);
    }

    /// Of the first `sent` packets, none is left to be read: what was not read is lost.
    pub fn take_all(&self, sent: u64) {
        self.taken().store(sent, Ordering::Release);
    }

    /// When the packet with this number left, CLOCK_MONOTONIC in ns.
    pub fn time(&self, number: u16) -> Option<u64> {
        if number == NO_NUMBER {
            return None;
        }
        self.times.load(usize::from(number)).filter(|time| *time != 0)
    }

    fn taken(&self) -> &AtomicU64 {
        self.queue.word(offset_of!(Queue, taken))
    }
}
