//! The delay line without its IO: slots, the wheel, and the bound on memory.

use super::emulator::{Arrival, Decision, Emulator};
use super::evidence::Evidence;
use super::setting::{InvalidSetting, Setting};
use super::wheel::Wheel;

/// A slot number as the data plane tags packets with it: 1 to 4094, the VLAN identifiers that are
/// not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The highest slot.
    pub const MAX: Self = Self(4094);

    /// `None` outside 1 to 4094.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What becomes of an offered frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<F> {
    /// The line has it.
    Held,
    /// To be delivered at once.
    Deliver(F),
    /// To be dropped: a bounded queue was full.
    Drop(F),
    /// The slot was never set, so nobody knows where the frame belongs.
    Stray(F),
}

/// A frame whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<F> {
    /// The frame.
    pub frame: F,
    /// Its slot.
    pub slot: Slot,
    /// When it arrived, in ns.
    pub arrived: u64,
    /// When it should leave, in ns.
    pub deadline: u64,
}

/// Frames of type `F`, held until they are due. Time is in nanoseconds, passed in.
#[derive(Debug)]
pub struct Line<F> {
    seed: u64,
    slots: Box<[Option<Box<SlotState>>]>,
    wheel: Wheel<Held<F>>,
    memory: usize,
    memory_limit: usize,
    strays: u64,
}

#[derive(Debug)]
struct SlotState {
    emulator: Emulator,
    evidence: Evidence,
    /// Frames that still arrive are delivered at once.
    retired: bool,
}

#[derive(Debug)]
struct Held<F> {
    frame: F,
    arrived: u64,
    footprint: u32,
    slot: Slot,
}

impl<F> Line<F> {
    /// A line that holds at most `memory_limit` bytes of frames.
    pub fn new(now: u64, seed: u64, memory_limit: usize) -> Self {
        Self {
            seed,
            slots: std::iter::repeat_with(|| None).take(usize::from(Slot::MAX.0) + 1).collect(),
            wheel: Wheel::new(now),
            memory: 0,
            memory_limit,
            strays: 0,
        }
    }

    /// Starts a slot, or changes what it does from now on. A retired slot starts anew.
    pub fn set(&mut self, slot: Slot, setting: Setting) -> Result<(), InvalidSetting> {
        let state = &mut self.slots[usize::from(slot.0)];
        match state {
            Some(state) if !state.retired => state.emulator.change(setting),
            _ => {
                let emulator = Emulator::new(self.seed, slot.0, setting)?;
                let evidence = Evidence::default();
                *state = Some(Box::new(SlotState { emulator, evidence, retired: false }));
                Ok(())
            }
        }
    }

    /// Ends a slot: what it holds is handed out to be delivered now, in the order of deadlines,
    /// and what still arrives is delivered at once.
    pub fn retire(&mut self, slot: Slot, now: u64) -> Vec<Due<F>> {
        let Some(state) = &mut self.slots[usize::from(slot.0)] else { return Vec::new() };
        state.retired = true;
        let taken = self.wheel.extract(|held| held.slot == slot);
        taken.into_iter().map(|(deadline, held)| self.release(deadline, held, now)).collect()
    }

    /// Takes in a frame that occupies `footprint` bytes of memory.
    pub fn offer(&mut self, slot: Slot, arrival: &Arrival, footprint: u32, frame: F) -> Offer<F> {
        let Some(state) = &mut self.slots[usize::from(slot.0)] else {
            self.strays += 1;
            return Offer::Stray(frame);
        };
        let counters = &mut state.evidence.counters;
        counters.arrived += 1;
        counters.arrived_bytes += u64::from(arrival.bytes);
        if state.retired {
            counters.bypassed += 1;
            return Offer::Deliver(frame);
        }
        let room = self.memory + footprint as usize <= self.memory_limit;
        let release = match state.emulator.decide(arrival, counters.held, room) {
            Decision::Hold(at) => at,
            Decision::Overtake(at) => {
                counters.overtook += 1;
                at
            }
            Decision::Bypass => {
                counters.bypassed += 1;
                return Offer::Deliver(frame);
            }
            Decision::Drop => {
                counters.dropped += 1;
                return Offer::Drop(frame);
            }
        };
        counters.held += 1;
        self.memory += footprint as usize;
        self.wheel.push(release, Held { frame, arrived: arrival.at, footprint, slot });
        Offer::Held
    }

    /// The next frame whose deadline is not after `now`.
    pub fn due(&mut self, now: u64) -> Option<Due<F>> {
        let (deadline, held) = self.wheel.pop(now)?;
        Some(self.release(deadline, held, now))
    }

    /// The next frame, however early: for emptying the line.
    pub fn due_any(&mut self, now: u64) -> Option<Due<F>> {
        let (deadline, held) = self.wheel.pop_any()?;
        Some(self.release(deadline, held, now))
    }

    fn release(&mut self, deadline: u64, held: Held<F>, now: u64) -> Due<F> {
        self.memory -= held.footprint as usize;
        if let Some(state) = &mut self.slots[usize::from(held.slot.0)] {
            state.evidence.released(held.arrived, deadline, now);
        }
        Due { frame: held.frame, slot: held.slot, arrived: held.arrived, deadline }
    }

    /// When the next frame is due.
    pub fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// The kernel did not take back a frame of this slot.
    pub fn refused(&mut self, slot: Slot) {
        if let Some(state) = &mut self.slots[usize::from(slot.0)] {
            state.evidence.counters.refused += 1;
        }
    }

    /// What a slot did; `None` when it was never set.
    pub fn evidence(&self, slot: Slot) -> Option<&Evidence> {
        self.slots[usize::from(slot.0)].as_ref().map(|state| &state.evidence)
    }

    /// Frames held, over all slots.
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether no frame is held.
    pub fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    /// Bytes of memory that held frames occupy; never more than the limit.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// A frame came that names no slot at all.
    pub fn stray(&mut self) {
        self.strays += 1;
    }

    /// Frames without a slot, or with one that was never set.
    pub fn strays(&self) -> u64 {
        self.strays
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
