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
    pub struct Detour [16] {
        /// The device to send them to.
        pub ifindex: u32,
        /// `skb->priority` on the detour, where a class of a classful root chooses the setting;
        /// 0 leaves it.
        pub priority: u32,
        /// What tells the far side where they belong, 1 to 4094: the VLAN identifier of a tag.
        pub slot: u32,
        /// 1 if the time that it takes is to be measured: the packet stays in the kernel.
        pub timed: u32,
    }

    /// Where packets with a slot belong; by slot.
    pub struct Home [12] {
        /// The device; 0 is nowhere.
        pub ifindex: u32,
        /// The [`crate::Hook`] at which they left it.
        pub hook: u32,
        /// Where it is counted how long they were held: see [`crate::delays`].
        pub delays: u32,
    }
}

/// Homes: one for every VLAN identifier.
pub const HOMES: u32 = 4096;

/// Says in a tag that the packet carries the time at which it left.
const TIMED: u32 = 1 << 12;

/// The tag of a packet on a detour: its slot, and in the priority bits the place of the rule among
/// the packet's matches, from which it goes on when it is back. The bit between them says whether
/// `skb->tstamp` is the time at which it left.
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
