//! How a packet is recognised that has met an object's rules already: one that comes back from a
//! detour, or a copy.
//!
//! The token is in `skb->tc_index`, 16 bits that nothing but classful qdiscs of long ago used, so
//! that the mark stays the user's. It lives from the give-back (or the copying) to the program of
//! the same object at the device, which takes it off; every other object's program that sees it has
//! met the packet before, because it stands before the owner in the chain, and lets it pass.

use crate::Hook;

/// The place of a token that is behind all rules.
pub const END: u8 = 7;

const MAGIC: u16 = 0xc000;
const MAGIC_BITS: u16 = 0xf000;
const ARRIVING: u16 = 1 << 3;

/// Whether a `tc_index` is a token.
#[inline(always)]
pub const fn is_token(index: u32) -> bool {
    index as u16 & MAGIC_BITS == MAGIC
}

/// A token for the program of the object with this tag (1 to 255) at a hook of tc; the packet has
/// met the rules up to `place` among its matches.
#[inline(always)]
pub const fn pack(tag: u64, hook: Hook, place: u8) -> u16 {
    let arriving = if hook as u8 == Hook::Ingress as u8 { ARRIVING } else { 0 };
    MAGIC | (tag as u16 & 0xff) << 4 | arriving | (place & END) as u16
}

/// Whose it is.
#[inline(always)]
pub const fn tag(index: u32) -> u64 {
    (index >> 4 & 0xff) as u64
}

/// Whether it is for the program at this hook.
#[inline(always)]
pub const fn is_for(index: u32, hook: Hook) -> bool {
    (index as u16 & ARRIVING != 0) == (hook as u8 == Hook::Ingress as u8)
}

/// See [`pack`].
#[inline(always)]
pub const fn place(index: u32) -> u8 {
    index as u8 & END
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_small_indices_are_none() {
        for own in [1, 77, 255] {
            for hook in [Hook::Egress, Hook::Ingress] {
                for at in 0..=END {
                    let packed = u32::from(pack(own, hook, at));
                    assert!(is_token(packed));
                    assert_eq!((tag(packed), place(packed)), (own, at));
                    assert!(is_for(packed, hook));
                    assert_eq!(is_for(packed, Hook::Egress), hook == Hook::Egress);
                }
            }
        }
        assert!((0..0xc000).all(|index| !is_token(index)));
    }
}
