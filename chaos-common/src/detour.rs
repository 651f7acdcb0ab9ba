//! Where packets go that are held, and where they belong when they come back.

use crate::layout::shared;

shared! {
    /// Packets of one rule at one place.
    pub struct DetourKey [12] {
        /// Slot of the rule.
        pub rule: u32,
        /// The device that the packets pass.
        pub ifindex: u32,
        /// The [`crate::Hook`] at which they do: of tc.
        pub hook: u32,
    }

    /// The way of such packets.
    pub struct Detour [20] {
        /// The device to send them to.
        pub ifindex: u32,
        /// `skb->priority` on the detour, where a class of a classful root chooses the setting;
        /// 0 leaves it.
        pub priority: u32,
        /// What tells the far side where they belong, 1 to 4094: the VLAN identifier of a tag.
        pub slot: u32,
        /// [`measure`]: how the time that it takes is known.
        pub measure: u32,
        /// Where a delay line holds them: its queue that the slot belongs to.
        pub queue: u32,
    }

    /// Where packets with a slot belong; by slot.
    pub struct Home [20] {
        /// The device; 0 is nowhere.
        pub ifindex: u32,
        /// The [`crate::Hook`] at which they left it.
        pub hook: u32,
        /// Where it is counted how long they were held: see [`crate::delays`].
        pub delays: u32,
        /// [`measure`], as in the [`Detour`].
        pub measure: u32,
        /// The queue, as in the [`Detour`].
        pub queue: u32,
    }

    /// What the programs and a thread of a delay line know of the queue between them. Packets are
    /// counted as the queue holds them.
    pub struct Queue [32] {
        /// Packets that were sent there. The programs count.
        pub sent: u64,
        /// Of those, taken out or lost on the way. The thread counts.
        pub taken: u64,
        /// This many can wait; what comes then is not sent there. 0 is any number.
        pub room: u64,
        /// 1 if super-packets are cut on the way.
        pub per_packet: u64,
    }
}

/// How the time that a detour takes is known.
pub mod measure {
    /// It is not.
    pub const NOT: u32 = 0;
    /// `skb->tstamp` carries the time at which the packet left: it stays in the kernel.
    pub const STAMPED: u32 = 1;
    /// A second tag carries a number, under which the time is written down: it goes to a delay line.
    pub const NUMBERED: u32 = 2;
}

/// Queues that a delay line can have, each with a thread of its own.
pub const QUEUES: u32 = 16;

/// Times of departure that are kept of each queue, by number; the last one is never written.
pub const DEPARTURES: u32 = 1 << 16;

/// The number of a packet whose own number was given to another one meanwhile.
pub const NO_NUMBER: u16 = u16::MAX;

/// Homes: one for every VLAN identifier.
pub const HOMES: u32 = 4096;

/// Says in a tag that the packet carries the time at which it left, or its number.
const TIMED: u32 = 1 << 12;

/// The tag of a packet on a detour: its slot, and in the priority bits the place of the rule among
/// the packet's matches, from which it goes on when it is back. The bit between them says whether
/// it carries what [`measure`] says.
#[inline(always)]
pub const fn tci(slot: u32, place: u8, timed: bool) -> u16 {
    (place as u16 & 7) << 13 | (timed as u16) << 12 | (slot as u16 & 0xfff)
}

/// See [`tci`].
#[inline(always)]
pub const fn is_timed(tci: u32) -> bool {
    tci & TIMED != 0
}

/// The slot in a tag.
#[inline(always)]
pub const fn slot(tci: u32) -> u32 {
    tci & 0xfff
}

/// The place in a tag.
#[inline(always)]
pub const fn place(tci: u32) -> u8 {
    (tci >> 13) as u8 & 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_round_trip() {
        for own in [1, 77, 4094] {
            for at in 0..=7 {
                for timed in [false, true] {
                    let tag = u32::from(tci(own, at, timed));
                    assert_eq!((slot(tag), place(tag), is_timed(tag)), (own, at, timed));
                }
            }
        }
    }
}
