//! Flipped bits: noticed by the receiver's stack, or by nobody but the application.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::time::Duration;

use chaos::experiment::units::Direction;
use chaos::fault::Session;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Action, Checksum, Corrupt, Loss, Rule};

use crate::net::{FAMILIES, datagrams, round_trip, to_port};
use crate::support::{Pair, isolated};

const LONG: Duration = Duration::from_secs(30);

/// Of payloads; each is sent once.
const LENGTHS: [usize; 9] = [1, 2, 7, 28, 60, 61, 500, 1399, 1400];

fn corrupt(share: Loss, checksum: Checksum) -> Action {
    Action::Corrupt(Corrupt { share, checksum })
}

/// Packets that a namespace's stack has refused for their checksum: UDP, UDP over v6, TCP.
fn refused(netns: &NetNs) -> [u64; 3] {
    let read = || {
        let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        (read("snmp"), read("snmp6"))
    };
    let (snmp, snmp6) = netns.run(read).unwrap();
    let mut values = BTreeMap::new();
    let mut lines = snmp.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        for (name, number) in names.split(' ').zip(numbers.split(' ')).skip(1) {
            let protocol = names.split(':').next().unwrap();
            values.insert(format!("{protocol}{name}"), number.to_owned());
        }
    }
    for line in snmp6.lines() {
        let (name, number) = line.split_once(char::is_whitespace).unwrap();
        values.insert(name.to_owned(), number.trim().to_owned());
    }
    ["UdpInCsumErrors", "Udp6InCsumErrors", "TcpInCsumErrors"]
        .map(|name| values[name].parse().unwrap())
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// What arrives of one datagram of each length.
fn sent(from: &UdpSocket, to: &UdpSocket) -> Vec<Vec<u8>> {
    for length in LENGTHS {
        from.send_to(&payload(length), to.local_addr().unwrap()).unwrap();
    }
    to.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut buffer = [0; 2000];
    std::iter::from_fn(|| to.recv(&mut buffer).ok().map(|size| buffer[..size].to_vec())).collect()
}

fn bits_that_differ(one: &[u8], other: &[u8]) -> u32 {
    one.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum()
}

/// A way for datagrams, and the namespace that receives them.
struct Way<'a> {
    from: UdpSocket,
    to: UdpSocket,
    receiver: &'a NetNs,
    checksum: Checksum,
}

#[test]
fn datagrams_are_refused_by_the_receiver_or_read_wrong() {
    isolated("corruption::datagrams_are_refused_by_the_receiver_or_read_wrong", || {
        let pair = Pair::new();
        let (mut ways, mut rules) = (Vec::new(), Vec::new());
        let all = [(FAMILIES[0], false), (FAMILIES[1], false)]
            .into_iter()
            .chain([(("127.0.0.1", "127.0.0.1"), true), (("::1", "::1"), true)]);
        for ((far, near), loopback) in all {
            let far_end = if loopback { &pair.near } else { &pair.far };
            for direction in [Direction::To, Direction::From] {
                for checksum in [Checksum::Detected, Checksum::Silent] {
                    let here = pair.near_socket(near);
                    let there = if loopback { pair.near_socket(far) } else { pair.far_socket(far) };
                    let port = there.local_addr().unwrap().port();
                    rules.push(Rule {
                        name: format!("{direction} {far} {checksum:?}"),
                        selector: to_port(direction, port),
                        action: corrupt(Loss::Always, checksum),
                    });
                    let (from, to, receiver) = if direction == Direction::To {
                        (here, there, far_end)
                    } else {
                        (there, here, &pair.near)
                    };
                    ways.push(Way { from, to, receiver, checksum });
                }
            }
        }
        let mut fault = pair.fault(rules[0].selector.clone(), rules[0].action.clone());
        fault.rules = rules;
        let active = Session::start("corrupt", &[fault]).unwrap();
        for (at, Way { from, to, receiver, checksum }) in ways.iter().enumerate() {
            let v6 = usize::from(to.local_addr().unwrap().is_ipv6());
            let before = refused(receiver);
            let arrived = sent(from, to);
            let noticed = refused(receiver)[v6] - before[v6];
            if *checksum == Checksum::Detected {
                assert_eq!((arrived.len(), noticed), (0, LENGTHS.len() as u64), "{at}");
                continue;
            }
            assert_eq!(noticed, 0, "{at}");
            assert!(arrived.iter().map(Vec::len).eq(LENGTHS), "{at}");
            for bytes in &arrived {
                assert_eq!(bits_that_differ(bytes, &payload(bytes.len())), 1, "{at}");
            }
        }
        assert_eq!(active.remarks().unwrap(), Vec::<String>::new());
        let all = LENGTHS.len() as u64;
        for rule in active.heal().unwrap() {
            assert_eq!((rule.matched, rule.acted), (all, all), "{rule:?}");
        }
        for Way { from, to, .. } in &ways {
            let arrived = sent(from, to);
            assert_eq!(arrived.len(), LENGTHS.len());
            assert!(arrived.iter().all(|bytes| *bytes == payload(bytes.len())));
        }
    });
}

#[test]
fn streams_send_again_what_was_refused_or_read_wrong_bytes() {
    isolated("corruption::streams_send_again_what_was_refused_or_read_wrong_bytes", || {
        let pair = Pair::new();
        let echoes = FAMILIES.map(|(far, _)| (pair.echo(far), pair.echo(far)));
        let twenty = Loss::Exact("20%".parse().unwrap());
        let rules = echoes.iter().flat_map(|(detected, silent)| {
            let rule = |port, action| Rule {
                name: "it".into(),
                selector: to_port(Direction::To, port),
                action,
            };
            [
                rule(detected.port(), corrupt(twenty, Checksum::Detected)),
                rule(silent.port(), corrupt(Loss::Always, Checksum::Silent)),
            ]
        });
        let mut fault = pair.fault(to_port(Direction::To, 1), corrupt(twenty, Checksum::Silent));
        fault.rules = rules.collect();
        let mut silent = echoes.map(|(_, silent)| pair.connect(silent, LONG).unwrap());
        let active = Session::start("corrupt", &[fault]).unwrap();
        let start = refused(&pair.far);
        for (detected, _) in echoes {
            let mut stream = pair.connect(detected, LONG).unwrap();
            // Small writes, so that most segments travel alone; each comes back unharmed.
            for _ in 0..50 {
                round_trip(&mut stream, 100, LONG).unwrap();
            }
            // And super-packets, which are lost.
            round_trip(&mut stream, 300_000, LONG).unwrap();
        }
        let noticed = refused(&pair.far)[2] - start[2];
        for stream in &mut silent {
            stream.set_read_timeout(Some(LONG)).unwrap();
            for length in [1, 100, 1400, 60_000] {
                stream.write_all(&payload(length)).unwrap();
                let mut back = vec![0; length];
                stream.read_exact(&mut back).unwrap();
                let wrong = bits_that_differ(&back, &payload(length));
                // One in each packet, and a super-packet is one; sent again, it has another.
                assert!(wrong >= 1, "{wrong} in {length}");
            }
        }
        assert_eq!(refused(&pair.far)[2] - start[2], noticed, "nobody noticed the silent ones");
        for (here, there) in
            FAMILIES.map(|(far, near)| (pair.near_socket(near), pair.far_socket(far)))
        {
            assert_eq!(datagrams(&here, &there, 100), 100);
        }
        let evidence = active.heal().unwrap();
        let detected = evidence[0].acted + evidence[2].acted;
        assert!(noticed > 0 && noticed <= detected, "{noticed} {evidence:?}");
        // Acknowledgements have nothing to corrupt, and count as matched only.
        assert!(evidence[1].acted >= 4 && evidence[3].acted >= 4, "{evidence:?}");
        for stream in &mut silent {
            round_trip(stream, 10_000, LONG).unwrap();
        }
    });
}
