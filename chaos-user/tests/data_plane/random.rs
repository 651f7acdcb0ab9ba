//! Random sets of rules against random packets.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chaos::experiment::units::{Direction, Percent, PortRange, Prefix, Protocol};
use chaos::host::boot_time;
use chaos::plan::{
    Action, Answer, Checksum, Corrupt, Duplicate, Loss, Request, Rule, Selector, compile,
};
use chaos_common::{Hook, MAX_MATCHES};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::bench::{Bench, bench, fewer_if_slow, seed};
use crate::oracle::Oracle;
use crate::packets::{ACK, Extension, FIN, Kind, Piece, RST, SYN, Sample};
use crate::rules::{reject, rule};

/// Few bits, so that rules and packets meet often.
fn address(v4: bool, bits: u8) -> IpAddr {
    if v4 {
        Ipv4Addr::new(10, bits >> 6, 0, bits & 3).into()
    } else {
        Ipv6Addr::new(0xfd00, u16::from(bits >> 6), 0, 0, 0, 0, 0, u16::from(bits & 3)).into()
    }
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (any::<bool>(), any::<u8>(), 0..4_usize).prop_map(|(v4, bits, length)| {
        let lengths = if v4 { [8, 16, 30, 32] } else { [16, 32, 126, 128] };
        Prefix::network(address(v4, bits), lengths[length])
    })
}

fn range() -> impl Strategy<Value = PortRange> {
    let any_two = (1..16_u16, 1..16_u16);
    prop_oneof![
        4 => any_two.prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
        4 => (1..16_u16).prop_map(|port| PortRange::new(port, port).unwrap()),
        1 => Just(PortRange::new(8, 1023).unwrap()),
    ]
}

fn percent() -> impl Strategy<Value = Percent> {
    (1..=1000_u32).prop_map(|mille| Percent::from_ppb(mille * 1_000_000).unwrap())
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Always),
        percent().prop_map(Loss::Random),
        percent().prop_map(Loss::Exact),
        (1..6_u32).prop_map(Loss::EveryNth),
        (percent(), percent(), percent(), percent()).prop_map(
            |(p, r, loss_in_bad, loss_in_good)| {
                Loss::GilbertElliott { p, r, loss_in_bad, loss_in_good }
            }
        ),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => loss().prop_map(Action::Drop),
        2 => select(crate::rules::ANSWERS.to_vec()).prop_map(|answer: Answer| reject(answer)),
        1 => Just(Action::Protect),
        1 => (loss(), select(vec![Checksum::Detected, Checksum::Silent]))
            .prop_map(|(share, checksum)| Action::Corrupt(Corrupt { share, checksum })),
        1 => (loss(), 1..=8_u8)
            .prop_map(|(share, copies)| Action::Duplicate(Duplicate { share, copies })),
    ]
}

/// Often none, because few packets meet all parts of a rule at once.
fn some<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    (prop::bool::weighted(0.4), prop::collection::vec(strategy, 1..3))
        .prop_map(|(given, values)| if given { values } else { Vec::new() })
}

/// A rule, and which of the two devices it names.
fn random_rule() -> impl Strategy<Value = (Rule, Vec<usize>)> {
    let protocols = [1, 6, 17, 47, 58, 132].map(Protocol::from_number);
    let selector = (
        select(vec![Direction::To, Direction::From, Direction::Both]),
        prop::option::weighted(0.4, select(protocols.to_vec())),
        some(prefix()),
        some(prefix()),
        some(range()),
        some(range()),
        prop::option::weighted(0.2, percent()),
    );
    let selector = selector.prop_map(
        |(direction, protocol, local, remote, local_ports, remote_ports, flows)| Selector {
            direction,
            protocol,
            local,
            remote,
            local_ports,
            remote_ports,
            flows,
            ..Selector::default()
        },
    );
    let devices = prop_oneof![3 => Just(vec![]), 1 => select(vec![vec![0], vec![1], vec![0, 1]])];
    (selector, action(), devices)
        .prop_map(|(selector, action, devices)| (rule("random", selector, action), devices))
        .prop_filter("could never act", |(rule, _)| rule.check().is_ok())
}

fn sample() -> impl Strategy<Value = Sample> {
    let kinds = vec![
        Kind::Tcp(SYN),
        Kind::Tcp(ACK),
        Kind::Tcp(RST),
        Kind::Tcp(FIN | ACK),
        Kind::Udp,
        Kind::Udp,
        Kind::Echo,
        Kind::IcmpError,
        Kind::Neighbour,
        Kind::Sctp,
        Kind::Gre,
    ];
    let extensions = vec![
        Extension::HopByHop,
        Extension::Routing,
        Extension::Destination,
        Extension::LongDestination,
        Extension::Authentication,
    ];
    let ends = (any::<bool>(), any::<u8>(), any::<u8>(), 1..16_u16, 1..16_u16);
    let extras = (
        prop_oneof![8 => Just(Piece::Whole), 1 => Just(Piece::First), 1 => Just(Piece::Later)],
        prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2_usize)],
        prop_oneof![5 => Just(vec![]), 1 => prop::collection::vec(select(extensions), 1..8)],
        prop::bool::weighted(0.1),
        prop::collection::vec(any::<u8>(), 8..64),
    );
    (select(kinds), ends, extras).prop_map(|(kind, ends, extras)| {
        let (v4, source, destination, from, to) = ends;
        let (piece, tags, extensions, options, payload) = extras;
        // There is no neighbour discovery in IPv4, and its messages are never fragments.
        let (kind, piece) = match kind {
            Kind::Neighbour if v4 => (Kind::Echo, piece),
            Kind::Neighbour => (kind, Piece::Whole),
            other => (other, piece),
        };
        // A fragment header is one more extension header.
        let room = if piece == Piece::Whole { 7 } else { 5 };
        Sample {
            source: address(v4, source),
            destination: address(v4, destination),
            kind,
            ports: (from, to),
            piece,
            tags,
            extensions: if v4 { vec![] } else { extensions.into_iter().take(room).collect() },
            options: v4 && options,
            payload,
            sequence: 1,
            acknowledgement: 2,
        }
    })
}

#[derive(Debug, Default)]
struct Met {
    packets: usize,
    matches: u64,
    overflows: usize,
    rules: usize,
}

fn one_case(
    bench: &mut Bench,
    seed: u64,
    mut given: Vec<(Rule, Vec<usize>)>,
    packets: &[(Sample, bool, bool)],
    met: &mut Met,
) -> Result<(), TestCaseError> {
    let (rules, devices, tables) = loop {
        let rules: Vec<Rule> = given.iter().map(|(rule, _)| rule.clone()).collect();
        let named = |indices: &Vec<usize>| indices.iter().map(|&i| bench.devices[i]).collect();
        let devices: Vec<Vec<u32>> = given.iter().map(|(_, indices)| named(indices)).collect();
        let not_before = boot_time();
        let not_after = u64::MAX;
        let (rules_, devices_) = (&rules[..], &devices[..]);
        let request = Request {
            rules: rules_,
            devices: devices_,
            not_before,
            not_after,
            seed,
            skip_tagged: false,
        };
        match compile(&request) {
            Ok(compiled) => break (rules, devices, compiled.tables),
            // Too many shapes of rules: fewer rules.
            Err(_) => given.truncate(given.len() - 1),
        }
    };
    if rules.is_empty() {
        // That the rest is not empty as well, is checked at the end.
        return Ok(());
    }
    let filled = bench.object.fill(&tables).unwrap();
    bench.object.flip(filled, 0);
    let mut oracle = Oracle::new(&rules, &devices, seed, bench.sequences(rules.len()));
    let before: Vec<_> = (0..rules.len()).map(|slot| bench.rule(slot)).collect();
    for (sample, egress, second) in packets {
        let hook = if *egress { Hook::Egress } else { Hook::Ingress };
        let device = bench.devices[usize::from(*second)];
        let mut probe = Oracle::new(&rules, &devices, seed, oracle.sequences.clone());
        if probe.meet(hook, device, sample).candidates > MAX_MATCHES {
            // Which of them act is not promised; that it is counted is, below.
            met.overflows += 1;
            continue;
        }
        let expected = oracle.meet(hook, device, sample);
        let outcome = bench.send(hook, device, &sample.bytes());
        prop_assert!(
            expected.codes.contains(&outcome.code),
            "{} instead of {:?} at {:?}: {:?}",
            outcome.code,
            expected.codes,
            hook,
            sample
        );
        met.packets += 1;
    }
    for (slot, before) in before.iter().enumerate() {
        let after = bench.rule(slot);
        let name = rules[slot].selector.to_string();
        prop_assert_eq!(after.matched - before.matched, oracle.matched[slot], "{}", name);
        prop_assert_eq!(after.acted - before.acted, oracle.acted[slot], "{}", name);
        prop_assert_eq!(after.bytes - before.bytes, oracle.bytes[slot], "{}", name);
        met.matches += oracle.matched[slot];
    }
    prop_assert_eq!(bench.sequences(rules.len()), oracle.sequences);
    met.rules += rules.len();
    Ok(())
}

#[test]
fn random_rules_meet_random_packets_as_the_oracle_says() {
    let cases = fewer_if_slow(200);
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_ne_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    bench(|bench| {
        let state = RefCell::new((bench, Met::default()));
        let strategy = (
            any::<u64>(),
            prop::collection::vec(random_rule(), 1..=40),
            prop::collection::vec((sample(), any::<bool>(), any::<bool>()), 1..60),
        );
        TestRunner::new_with_rng(config, rng)
            .run(&strategy, |(seed, rules, packets)| {
                let mut state = state.borrow_mut();
                let (bench, met) = &mut *state;
                one_case(bench, seed, rules, &packets, met)
            })
            .unwrap();
        let met = &state.borrow().1;
        println!("{met:?}");
        // A test in which nothing meets proves nothing.
        assert!(met.matches > 10 * u64::from(cases), "{met:?}");
        assert!(met.packets > 4 * met.overflows, "{met:?}");
        assert!(met.rules > 4 * cases as usize, "{met:?}");
    });
}
