//! Seeded decisions. The kernel takes them, the tests recompute them, and a seed reproduces a run:
//! decision number `n` of a rule depends on its seed and on `n` alone, on any kernel and CPU.

use crate::rule::{Rule, loss};

/// The whole of a probability in 2^-32.
pub const ALL: u64 = 1 << 32;

/// Packets per block in exact mode.
pub const BLOCK: u64 = 1000;

const PPB: u64 = 1_000_000_000;

/// A counter-based random function: the finaliser of splitmix64 over `seed` and `n`.
#[inline(always)]
pub const fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// True with probability `chance` × 2^-32.
#[inline(always)]
pub const fn random(seed: u64, n: u64, chance: u64) -> bool {
    (mix(seed, n) >> 32) < chance
}

/// True for exactly the share `ppb` (parts per 10^9) of each [`BLOCK`] of decisions, at positions
/// that a seeded permutation chooses. A share that is no whole number of packets per block is
/// rounded so that the total stays within one packet of the exact share.
#[inline(always)]
pub const fn exact(seed: u64, n: u64, ppb: u64) -> bool {
    let block = n / BLOCK;
    const PER_PACKET: u64 = PPB / BLOCK;
    let before = block.wrapping_mul(ppb) / PER_PACKET;
    let after = block.wrapping_add(1).wrapping_mul(ppb) / PER_PACKET;
    permute(mix(seed, !block), n % BLOCK) < after.wrapping_sub(before)
}

/// A bijection of `0..BLOCK` chosen by `key`: a Feistel network over ten bits, walked until it
/// lands inside. Only 24 values lie outside, so 24 steps always suffice.
#[inline(always)]
const fn permute(key: u64, value: u64) -> u64 {
    let mut x = value;
    let mut step = 0;
    while step < 1024 - BLOCK + 1 {
        let mut left = (x >> 5) & 31;
        let mut right = x & 31;
        let mut round = 0;
        while round < 4 {
            let next = left ^ (mix(key, right | (round << 5)) & 31);
            left = right;
            right = next;
            round += 1;
        }
        x = (left << 5) | right;
        if x < BLOCK {
            return x;
        }
        step += 1;
    }
    x
}

/// True for the last of every `every` decisions; never for 0.
#[inline(always)]
pub const fn every_nth(n: u64, every: u64) -> bool {
    every != 0 && n % every == every - 1
}

/// One step of a Gilbert-Elliott chain. The low bit of `state` is 1 in the bad state, the rest
/// counts the steps. Returns the next state and whether this packet is lost.
#[inline(always)]
pub const fn gilbert_elliott(seed: u64, state: u64, parameters: &[u64; 4]) -> (u64, bool) {
    let [good_to_bad, bad_to_good, loss_in_bad, loss_in_good] = *parameters;
    let n = state >> 1;
    let was_bad = state & 1 == 1;
    let transition = mix(seed, n) >> 32;
    let bad = if was_bad { transition >= bad_to_good } else { transition < good_to_bad };
    let lost = (mix(!seed, n) >> 32) < if bad { loss_in_bad } else { loss_in_good };
    ((n.wrapping_add(1) << 1) | bad as u64, lost)
}

/// Decision number `n` of a rule with a stateless [`loss`]; Gilbert-Elliott rules go through
/// [`gilbert_elliott`] instead.
#[inline(always)]
pub const fn stateless(rule: &Rule, n: u64) -> bool {
    match rule.loss {
        loss::RANDOM => random(rule.seed, n, rule.parameters[0]),
        loss::EXACT => exact(rule.seed, n, rule.parameters[0]),
        loss::EVERY_NTH => every_nth(n, rule.parameters[0]),
        _ => true,
    }
}

/// Chooses the bit that decision `n` of a rule flips; see [`bit`].
#[inline(always)]
pub const fn corruption(seed: u64, n: u64) -> u64 {
    mix(seed ^ 0x636f_7272_7570_7421, n)
}

/// The byte below `length`, which is not 0, and the bit of it.
#[inline(always)]
pub const fn bit(draw: u64, length: u32) -> (u32, u32) {
    ((draw >> 32) as u32 % length, draw as u32 & 7)
}

/// The two ends of a flow; addresses in network byte order, ports in host byte order.
///
/// Aligned so that an address can be moved in two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Endpoints {
    /// This side's address, IPv4 in the first word.
    pub local: [u32; 4],
    /// The other side's address.
    pub remote: [u32; 4],
    /// This side's port, or 0.
    pub local_port: u16,
    /// The other side's port, or 0.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Hashes a flow so that both directions, and both ends of the connection, get the same value.
#[inline(always)]
pub const fn flow_hash(seed: u64, flow: &Endpoints) -> u64 {
    let a = end_hash(seed, &flow.local, flow.local_port);
    let b = end_hash(seed, &flow.remote, flow.remote_port);
    // Addition and xor are symmetric in the two ends; together they tell apart pairs that either
    // alone would confuse.
    mix(seed ^ flow.protocol as u64, a.wrapping_add(b) ^ (a ^ b).rotate_left(32))
}

#[inline(always)]
const fn end_hash(seed: u64, address: &[u32; 4], port: u16) -> u64 {
    let high = (address[0] as u64) << 32 | address[1] as u64;
    let low = (address[2] as u64) << 32 | address[3] as u64;
    mix(mix(seed, high) ^ port as u64, low)
}

/// Whether a rule that takes the share `flows` (in 2^-32) of all flows takes one with this
/// [`flow_hash`].
#[inline(always)]
pub const fn flow_chosen(hash: u64, flows: u64) -> bool {
    (hash >> 32) < flows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn permutation_is_a_bijection(key: u64) {
            let mut hit = [false; BLOCK as usize];
            for i in 0..BLOCK {
                hit[permute(key, i) as usize] = true;
            }
            prop_assert!(hit.iter().all(|&h| h));
        }

        #[test]
        fn exact_mode_is_exact_in_every_block(seed: u64, per_mille in 0u64..=1000, block in 0u64..1_000_000) {
            let ppb = per_mille * 1_000_000;
            let hits = (block * BLOCK..(block + 1) * BLOCK).filter(|&n| exact(seed, n, ppb)).count();
            prop_assert_eq!(hits as u64, per_mille);
        }

        #[test]
        fn exact_mode_never_strays_by_more_than_a_packet(seed: u64, ppb in 0u64..=PPB, blocks in 1u64..40) {
            let hits = (0..blocks * BLOCK).filter(|&n| exact(seed, n, ppb)).count() as u64;
            let wanted = blocks * BLOCK * ppb / PPB;
            prop_assert!(hits.abs_diff(wanted) <= 1, "{} instead of {}", hits, wanted);
        }

        #[test]
        fn both_ends_choose_the_same_flows(seed: u64, local: [u32; 4], remote: [u32; 4], ports: (u16, u16), protocol: u8) {
            let one = Endpoints { local, remote, local_port: ports.0, remote_port: ports.1, protocol };
            let other = Endpoints { local: remote, remote: local, local_port: ports.1, remote_port: ports.0, protocol };
            prop_assert_eq!(flow_hash(seed, &one), flow_hash(seed, &other));
        }

        #[test]
        fn random_loss_is_within_three_sigma(seed: u64, per_mille in 1u64..1000) {
            let chance = per_mille * ALL / 1000;
            let n = 20_000u64;
            let hits = (0..n).filter(|&i| random(seed, i, chance)).count() as f64;
            let p = per_mille as f64 / 1000.0;
            // Five sigma: proptest draws hundreds of seeds.
            let sigma = (n as f64 * p * (1.0 - p)).sqrt();
            prop_assert!((hits - n as f64 * p).abs() <= 5.0 * sigma + 1.0);
        }
    }

    #[test]
    fn every_third() {
        let hits: Vec<u64> = (0..9).filter(|&n| every_nth(n, 3)).collect();
        assert_eq!(hits, [2, 5, 8]);
        assert!(!every_nth(0, 0));
    }

    #[test]
    fn gilbert_elliott_loses_in_bursts_at_the_stationary_rate() {
        // p = 1 %, r = 25 %: bad for p / (p + r) = 3.85 % of the time, in bursts of 4.
        let parameters = [ALL / 100, ALL / 4, ALL, 0];
        let (mut state, mut lost, mut bursts, mut previous) = (0, 0u64, 0u64, false);
        const N: u64 = 400_000;
        for _ in 0..N {
            let (next, loss) = gilbert_elliott(7, state, &parameters);
            lost += u64::from(loss);
            bursts += u64::from(loss && !previous);
            (state, previous) = (next, loss);
        }
        assert_eq!(state >> 1, N);
        let rate = lost as f64 / N as f64;
        let length = lost as f64 / bursts as f64;
        assert!((0.035..0.042).contains(&rate), "{rate}");
        assert!((3.7..4.3).contains(&length), "{length}");
    }

    #[test]
    fn flow_share_is_the_share() {
        let chosen = (0..100_000u32)
            .filter(|&i| {
                let flow = Endpoints {
                    local: [i, 0, 0, 0],
                    remote: [9, 0, 0, 0],
                    local_port: i as u16,
                    remote_port: 80,
                    protocol: 6,
                };
                flow_chosen(flow_hash(3, &flow), ALL / 10)
            })
            .count();
        assert!((9_700..10_300).contains(&chosen), "{chosen}");
    }
}
