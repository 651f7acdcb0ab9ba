//! Corrupted packets, byte for byte, and how the rules that change packets share one.

use chaos::plan::{Action, Checksum, Corrupt, Duplicate, Loss, Rule};
use chaos_common::{Hook, decide};

use crate::bench::{bench, seed};
use crate::oracle::{NEXT, Oracle, REDIRECT};
use crate::packets::{Kind, Piece, Sample, shapes};
use crate::rules::{DROP, both, read, rule};

const KINDS: [Checksum; 2] = [Checksum::Detected, Checksum::Silent];

/// What the packet must be after the corruption with this draw; `None` if it cannot be corrupted.
pub(crate) fn corrupted(sample: &Sample, checksum: Checksum, draw: u64) -> Option<Vec<u8>> {
    let mut bytes = sample.bytes();
    let transport = sample.headers();
    let later = sample.piece == Piece::Later;
    let (header, field) = match sample.kind {
        _ if later => (0, None),
        Kind::Tcp(_) => (20, Some(16)),
        Kind::Udp => (8, Some(6)),
        Kind::Echo | Kind::IcmpError | Kind::Neighbour => (8, Some(2)),
        Kind::Sctp => (12, None),
        Kind::Gre => (0, None),
    };
    let field = field.map(|field| transport + field);
    let mut start = transport + header;
    let mut length = bytes.len() - start;
    let silent = checksum == Checksum::Silent;
    if silent {
        if later || length == 0 || sample.kind == Kind::Sctp {
            return None;
        }
    } else {
        // Tags that are in the packet hide it from the kernel's helper, and so does a header that
        // is far behind.
        let unknown = sample.kind == Kind::Gre && !later;
        if unknown || sample.tags > 0 || transport + 2 > 96 {
            return None;
        }
        if length == 0 {
            (start, length) = (field?, 2);
        }
    }
    let (offset, bit) = ((draw >> 32) as usize % length, draw & 7);
    let at = start + offset;
    let old = bytes[at];
    bytes[at] ^= 1 << bit;
    let new = bytes[at];
    let Some(field) = field else { return Some(bytes) };
    let sum = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    if silent {
        let word = |byte: u8| {
            u16::from_be_bytes(if (at - transport).is_multiple_of(2) {
                [byte, 0]
            } else {
                [0, byte]
            })
        };
        let fits = !add(add(!sum, !word(old)), word(new));
        match (sample.kind, sum, fits) {
            // UDP without a checksum stays without, and with one is never without.
            (Kind::Udp, 0, _) => {}
            (Kind::Udp, _, 0) => bytes[field..field + 2].fill(0xff),
            _ => bytes[field..field + 2].copy_from_slice(&fits.to_be_bytes()),
        }
    } else if sample.kind == Kind::Udp && sum == 0 {
        bytes[field..field + 2].copy_from_slice(&[0xde, 0xad]);
    }
    Some(bytes)
}

/// With end-around carry.
fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

fn corrupt(share: Loss, checksum: Checksum) -> Action {
    Action::Corrupt(Corrupt { share, checksum })
}

#[test]
fn every_shape_is_corrupted_as_the_oracle_says() {
    let seed = seed();
    bench(|bench| {
        let device = bench.devices[0];
        let rules = KINDS.map(|kind| [rule("it", both(), corrupt(Loss::Always, kind))]);
        let devices = [Vec::new()];
        for (rules, checksum) in rules.iter().zip(KINDS) {
            bench.arm(rules, &devices, seed);
            let mut n = bench.sequences(1)[0];
            let (before, failed) = (bench.rule(0), failures(bench));
            let (mut made, mut not_made) = (0, 0);
            for hook in [Hook::Egress, Hook::Ingress] {
                for sample in shapes() {
                    // Six extension headers are followed, seven are not.
                    if sample.extensions.len() > 6 {
                        continue;
                    }
                    let draw = decide::corruption(decide::mix(seed, 0), n);
                    n += 1;
                    let expected = corrupted(&sample, checksum, draw);
                    *(if expected.is_some() { &mut made } else { &mut not_made }) += 1;
                    let outcome = bench.send(hook, device, &sample.bytes());
                    let bytes = expected.unwrap_or_else(|| sample.bytes());
                    assert_eq!(outcome.code, NEXT, "{hook:?} {sample:?}");
                    // A short frame that could not be corrupted may have zeroes behind its packet,
                    // as Ethernet's shortest frames have.
                    let (packet, padding) = outcome.bytes.split_at(bytes.len());
                    assert_eq!(packet, bytes, "{checksum:?} {hook:?} {sample:?}");
                    assert!(padding.iter().all(|&byte| byte == 0), "{padding:?}");
                    assert!(padding.is_empty() || sample.tags > 0, "{hook:?} {sample:?}");
                }
            }
            let after = bench.rule(0);
            assert_eq!(after.matched - before.matched, made + not_made);
            assert_eq!(after.acted - before.acted, made);
            assert_eq!(failures(bench) - failed, not_made);
            assert!(made > 50 && not_made > 2, "{made} {not_made}");
        }
    });
}

fn failures(bench: &crate::bench::Bench) -> u64 {
    [Hook::Egress, Hook::Ingress].iter().map(|&hook| bench.hook(hook).change_failed).sum()
}

#[test]
fn shares_are_decided_as_the_oracle_says() {
    const PACKETS: u64 = 2000;
    let seed = seed();
    let sample = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    let silent = Checksum::Silent;
    let shares = [
        Loss::Random(read("30%")),
        Loss::Exact(read("25%")),
        Loss::EveryNth(3),
        Loss::GilbertElliott {
            p: read("5%"),
            r: read("25%"),
            loss_in_bad: read("90%"),
            loss_in_good: read("1%"),
        },
    ];
    bench(|bench| {
        // Each in a slot of its own, on a port of its own, and counted from 0.
        let ports = |n: usize| crate::rules::ports(10 + n as u16, 10 + n as u16);
        let choose = |n| chaos::plan::Selector { remote_ports: vec![ports(n)], ..both() };
        let actions = shares.iter().flat_map(|&share| {
            [corrupt(share, silent), Action::Duplicate(Duplicate { share, copies: 2 })]
        });
        let rules: Vec<Rule> =
            actions.enumerate().map(|(n, action)| rule("it", choose(n), action)).collect();
        let devices = vec![Vec::new(); rules.len()];
        bench.arm(&rules, &devices, seed);
        let mut oracle = Oracle::new(&rules, &devices, seed, vec![0; rules.len()]);
        for (slot, one) in rules.iter().enumerate() {
            let packet = Sample { ports: (1, 10 + slot as u16), ..sample.clone() };
            let bytes = packet.bytes();
            for n in 0..PACKETS {
                let expected = oracle.meet(Hook::Egress, bench.devices[0], &packet);
                let outcome = bench.send(Hook::Egress, bench.devices[0], &bytes);
                assert_eq!([outcome.code], expected.codes[..], "{n}");
            }
            let counters = bench.rule(slot);
            assert_eq!((counters.matched, counters.acted), (PACKETS, oracle.acted[slot]));
            if matches!(one.action, Action::Duplicate(Duplicate { share: Loss::Exact(_), .. })) {
                assert_eq!(counters.acted, PACKETS / 4);
            }
        }
        assert_eq!(bench.sequences(rules.len()), oracle.sequences);
        // 30 % at random: further off than this once in a hundred thousand seeds.
        let (mean, sigma) = (PACKETS as f64 * 0.3, (PACKETS as f64 * 0.3 * 0.7).sqrt());
        let off = (bench.rule(1).acted as f64 - mean).abs() / sigma;
        assert!(off < 4.5, "{off} sigma");
    });
}

#[test]
fn lost_packets_are_not_changed_and_one_bit_is_flipped_for_all_rules() {
    let seed = seed();
    let sample = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    let all = |actions: Vec<Action>| -> Vec<Rule> {
        actions.into_iter().map(|action| rule("it", both(), action)).collect()
    };
    bench(|bench| {
        let device = bench.devices[0];
        let rules = all(vec![
            corrupt(Loss::Always, Checksum::Silent),
            Action::Duplicate(Duplicate { share: Loss::Always, copies: 1 }),
            DROP,
        ]);
        bench.arm(&rules, &vec![Vec::new(); 3], seed);
        assert_eq!(bench.send(Hook::Egress, device, &sample.bytes()).code, REDIRECT);
        assert_eq!([0, 1, 2].map(|slot| bench.rule(slot).matched), [0, 0, 1]);
        // The one that checksums detect goes before those that they do not, then the first.
        for (kinds, wins) in [
            (vec![Checksum::Silent, Checksum::Detected, Checksum::Detected], 1),
            (vec![Checksum::Silent, Checksum::Silent], 0),
        ] {
            let rules = all(kinds.iter().map(|&kind| corrupt(Loss::Always, kind)).collect());
            bench.arm(&rules, &vec![Vec::new(); rules.len()], seed);
            let before: Vec<u64> = (0..rules.len()).map(|slot| bench.rule(slot).acted).collect();
            let n = bench.sequences(rules.len())[wins];
            let outcome = bench.send(Hook::Egress, device, &sample.bytes());
            let draw = decide::corruption(decide::mix(seed, wins as u64), n);
            assert_eq!(outcome.bytes, corrupted(&sample, kinds[wins], draw).unwrap());
            for (slot, before) in before.iter().enumerate() {
                assert_eq!(bench.rule(slot).acted - before, u64::from(slot == wins));
            }
        }
    });
}

#[test]
fn a_bucket_lets_its_burst_pass_and_not_much_more() {
    use chaos::plan::Police;
    let sample = Sample::new("10.0.0.1", "10.0.0.2", Kind::Udp, (1, 2));
    let bytes = sample.bytes();
    bench(|bench| {
        let device = bench.devices[0];
        let fits = 40;
        let burst = fits * bytes.len() as u64;
        let police = Action::Police(Police { rate: read("8kbit"), burst });
        bench.arm_one(&rule("it", both(), police), 1);
        let start = std::time::Instant::now();
        let codes = (0..200).map(|_| bench.send(Hook::Egress, device, &bytes).code);
        let passed = codes.filter(|&code| code == NEXT).count() as u64;
        let earned = start.elapsed().as_millis() as u64 / bytes.len() as u64 + 1;
        assert!((fits..=fits + earned).contains(&passed), "{passed}: {fits} and {earned}");
        let counters = bench.rule(0);
        assert_eq!((counters.matched, counters.acted), (200, 200 - passed));
    });
}
