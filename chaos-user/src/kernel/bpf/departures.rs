//! What the programs and a delay line know of the packets on their way between them.

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaos_common::detour::{DEPARTURES, NO_NUMBER, QUEUES, Queue};

use super::slab::Slab;

/// Memory that an object's programs write when they send packets to a delay line, and read to know
/// whether its queues have room. See [`DetourVia::queue`](super::DetourVia::queue). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Departures {
    queues: Arc<Slab<Queue>>,
    times: Arc<Slab<u64>>,
}

/// The same of one queue.
#[derive(Debug)]
pub struct QueueDepartures {
    all: Departures,
    queue: usize,
}

impl Departures {
    pub(super) fn new(queues: Slab<Queue>, times: Slab<u64>) -> Self {
        Self { queues: Arc::new(queues), times: Arc::new(times) }
    }

    /// At most `room` packets wait to be read in each queue from now on; those that come then pass, and are
    /// counted as detours that failed. `per_packet` says that super-packets are cut on the way.
    pub fn limit(&self, room: u64, per_packet: bool) {
        for queue in 0..QUEUES as usize {
            self.publish(queue, offset_of!(Queue, per_packet), u64::from(per_packet));
            self.publish(queue, offset_of!(Queue, room), room);
        }
    }

    /// What concerns one queue.
    pub fn of(&self, queue: u16) -> QueueDepartures {
        QueueDepartures { all: self.clone(), queue: usize::from(queue) }
    }

    /// There is nothing to tell a program of a queue that there is not.
    fn publish(&self, queue: usize, offset: usize, value: u64) {
        let _ = self.queues.publish_at(queue, offset, value);
    }
}

impl QueueDepartures {
    /// How many packets were sent to the queue.
    pub fn sent(&self) -> u64 {
        let word = self.all.queues.word_at(self.queue, offset_of!(Queue, sent));
        word.map_or(0, |sent| sent.load(Ordering::Acquire))
    }

    /// One more was read.
    pub fn take(&self) {
        if let Some(taken) = self.all.queues.word_at(self.queue, offset_of!(Queue, taken)) {
            taken.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Of the first `sent` packets, none is left to be read: what was not read is lost.
    pub fn take_all(&self, sent: u64) {
        self.all.publish(self.queue, offset_of!(Queue, taken), sent);
    }

    /// When the packet with this number left, CLOCK_MONOTONIC in ns.
    pub fn time(&self, number: u16) -> Option<u64> {
        if number == NO_NUMBER {
            return None;
        }
        let index = self.queue * DEPARTURES as usize + usize::from(number);
        self.all.times.load(index).filter(|time| *time != 0)
    }
}
