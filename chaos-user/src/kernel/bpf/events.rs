//! Sampled fault events out of the ring buffer.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use chaos_common::event::Event;
use zerocopy::FromBytes;

use super::object::map_error;
use super::{BpfError, Object};

/// The reading end of the ring buffer; readable when there are events.
pub struct EventStream {
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream")
    }
}

impl EventStream {
    /// Takes the reading end; there is one per object.
    pub fn take(object: &mut Object) -> Result<Self, BpfError> {
        let map = object
            .ebpf()
            .take_map("EVENTS")
            .ok_or(BpfError::Foreign { kind: "map", name: "EVENTS" })?;
        Ok(Self { ring: RingBuf::try_from(map).map_err(map_error("EVENTS"))? })
    }

    /// The events that are there now.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(item) = self.ring.next() {
            if let Ok((event, _)) = Event::read_from_prefix(&item) {
                events.push(event);
            }
        }
        events
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
