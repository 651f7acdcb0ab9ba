//! Where frames wait that leave at the same moment, so that one system call can take them all.

use std::os::fd::AsFd as _;

use nix::errno::Errno;

use super::frame::{Frame, Pool};
use super::line::Slot;
use super::ring::{Departing, Ring};
use super::tap::Tap;

/// How many leave together at most. More would gain nothing: what a call costs is then less than a
/// twentieth of what the kernel does for its frames.
pub(super) const WIDTH: usize = 16;
/// Fewer are as quick one by one.
const FEW: usize = 4;

/// Frames that are about to leave. They never stay here: who puts them in flushes.
#[derive(Debug)]
pub(super) struct Outbox {
    ring: Result<Ring, Errno>,
    batch: Vec<Departing>,
    together: u64,
}

impl Outbox {
    /// For the calling thread.
    pub(super) fn new(tap: &Tap) -> Self {
        Self { ring: Ring::new(tap.as_fd(), WIDTH), batch: Vec::with_capacity(WIDTH), together: 0 }
    }

    /// Whether frames can leave together.
    pub(super) fn batches(&self) -> bool {
        self.ring.is_ok()
    }

    /// How many frames have left together with others, by one system call; the error is why none can.
    pub(super) fn together(&self) -> Result<u64, Errno> {
        self.ring.as_ref().map(|_| self.together).map_err(|errno| *errno)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Whether it should be flushed before one more is put in.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= if self.batches() { WIDTH } else { 1 }
    }

    pub(super) fn push(&mut self, slot: Slot, frame: Frame) {
        self.batch.push(Departing { slot, frame, outcome: None });
    }

    /// Hands all frames to the kernel, in the order in which they were put in; `refused` has the slot of
    /// each that it did not take.
    pub(super) fn flush(&mut self, tap: &Tap, pool: &mut Pool, mut refused: impl FnMut(Slot)) {
        if self.batch.len() >= FEW
            && let Ok(ring) = &mut self.ring
        {
            match ring.write(tap.as_fd(), &mut self.batch) {
                Ok(()) => self.together += self.batch.len() as u64,
                Err(errno) => self.ring = Err(errno),
            }
        }
        for Departing { slot, frame, outcome } in self.batch.drain(..) {
            if outcome.unwrap_or_else(|| tap.write(frame.bytes())).is_err() {
                refused(slot);
            }
            pool.recycle(frame);
        }
    }
}
