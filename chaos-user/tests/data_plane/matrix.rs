//! Every shape of packet against every part of a selector.

use chaos::experiment::units::{Direction, Protocol};
use chaos::plan::{Connections, Selector};
use chaos_common::Hook;

use crate::bench::{bench, seed};
use crate::oracle::{NEXT, Oracle};
use crate::packets::{Sample, shapes};
use crate::rules::{ANSWERS, DROP, both, ports, read, reject, rule};

/// A selector and which of the two devices it names.
type Choice = (Selector, &'static [usize]);

/// Each part alone, then together. All of them choose some of the packets; all but the first, not
/// every one.
fn choices() -> Vec<Choice> {
    let any_device: &[usize] = &[];
    let mut all = vec![(both(), any_device)];
    for direction in [Direction::To, Direction::From] {
        all.push((Selector { direction, ..Selector::default() }, any_device));
    }
    all.push((both(), &[0]));
    all.push((both(), &[1]));
    for protocol in [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::ICMPV6, Protocol::SCTP]
    {
        all.push((Selector { protocol: Some(protocol), ..both() }, any_device));
    }
    let gre = Some(Protocol::from_number(47));
    all.push((Selector { protocol: gre, ..both() }, any_device));
    for prefix in
        ["10.1.0.5", "10.1.0.4/30", "10.0.0.0/14", "0.0.0.0/0", "fd01::5", "fd01::/61", "::/0"]
    {
        all.push((Selector { local: vec![read(prefix)], ..both() }, any_device));
        all.push((Selector { remote: vec![read(prefix)], ..both() }, any_device));
    }
    let two = vec![read("10.2.0.0/16"), read("fd02::9")];
    all.push((Selector { remote: two.clone(), ..both() }, any_device));
    for range in [ports(443, 443), ports(40_001, 40_009), ports(1, 65_535), ports(1, 40_010)] {
        all.push((Selector { local_ports: vec![range], ..both() }, any_device));
        all.push((Selector { remote_ports: vec![range], ..both() }, any_device));
    }
    let remote_ports = vec![ports(80, 90), ports(443, 443)];
    all.push((Selector { remote_ports: remote_ports.clone(), ..both() }, any_device));
    all.push((Selector { flows: Some(read("50%")), ..both() }, any_device));
    for age in [Connections::New, Connections::Established] {
        all.push((Selector { connections: Some(age), ..both() }, any_device));
    }
    all.push((
        Selector {
            direction: Direction::To,
            protocol: Some(Protocol::UDP),
            remote: two,
            remote_ports,
            flows: Some(read("70%")),
            ..Selector::default()
        },
        &[0],
    ));
    all
}

#[test]
fn every_part_of_a_selector_against_every_shape() {
    let seed = seed();
    let shapes = shapes();
    bench(|bench| {
        let [one, two] = bench.devices;
        for (at, (selector, named)) in choices().into_iter().enumerate() {
            let rules = [rule("it", selector, DROP)];
            let devices = [named.iter().map(|&i| [one, two][i]).collect()];
            bench.arm(&rules, &devices, seed);
            let mut oracle = Oracle::new(&rules, &devices, seed, vec![0]);
            let before = bench.rule(0);
            let (mut chosen, mut passed) = (0, 0);
            for device in [one, two] {
                for hook in [Hook::Egress, Hook::Ingress] {
                    for sample in &shapes {
                        let expected = oracle.meet(hook, device, sample);
                        let bytes = sample.bytes();
                        let outcome = bench.send(hook, device, &bytes);
                        let what = || format!("{}: {hook:?} {sample:?}", rules[0].selector);
                        assert_eq!([outcome.code], expected.codes[..], "{}", what());
                        assert_eq!(outcome.bytes, bytes, "{}", what());
                        *(if outcome.code == NEXT { &mut passed } else { &mut chosen }) += 1;
                    }
                }
            }
            let after = bench.rule(0);
            assert_eq!(after.matched - before.matched, oracle.matched[0]);
            assert_eq!(after.acted - before.acted, oracle.acted[0]);
            assert_eq!(after.bytes - before.bytes, oracle.bytes[0]);
            assert!(chosen > 0, "{} chose nothing", rules[0].selector);
            assert!((passed > 0) == (at > 0), "{} chose everything", rules[0].selector);
        }
    });
}

#[test]
fn every_kind_of_refusal_of_every_shape() {
    let seed = seed();
    bench(|bench| {
        let device = bench.devices[0];
        for answer in ANSWERS {
            let rules = [rule("it", both(), reject(answer))];
            let devices = [Vec::new()];
            bench.arm(&rules, &devices, seed);
            let mut oracle = Oracle::new(&rules, &devices, seed, vec![0]);
            let before = bench.rule(0);
            for hook in [Hook::Egress, Hook::Ingress] {
                for sample in shapes() {
                    let expected = oracle.meet(hook, device, &sample);
                    let outcome = bench.send(hook, device, &sample.bytes());
                    assert_eq!(
                        [outcome.code],
                        expected.codes[..],
                        "{answer:?} {hook:?} {sample:?}"
                    );
                }
            }
            let after = bench.rule(0);
            assert_eq!(after.matched - before.matched, oracle.matched[0]);
            assert_eq!(after.acted - before.acted, oracle.acted[0]);
        }
    });
}

#[test]
fn a_connection_is_new_from_its_handshake_on() {
    use crate::packets::{ACK, Kind, SYN};
    let flow = |flags| Sample::new("10.0.0.1", "10.0.0.2", Kind::Tcp(flags), (50_000, 80));
    let back = |flags| Sample::new("10.0.0.2", "10.0.0.1", Kind::Tcp(flags), (80, 50_000));
    for age in [Connections::New, Connections::Established] {
        bench(|bench| {
            let device = bench.devices[0];
            let selector = Selector { connections: Some(age), ..both() };
            bench.arm_one(&rule("it", selector, DROP), 1);
            let hit = |code| code != NEXT;
            let mut send =
                |hook, sample: Sample| hit(bench.send(hook, device, &sample.bytes()).code);
            let is_new = age == Connections::New;
            assert_eq!(send(Hook::Egress, flow(ACK)), !is_new);
            assert_eq!(send(Hook::Ingress, back(ACK)), !is_new);
            // The same ports again: a new connection.
            assert_eq!(send(Hook::Egress, flow(SYN)), is_new);
            assert_eq!(send(Hook::Ingress, back(SYN | ACK)), is_new);
            assert_eq!(send(Hook::Egress, flow(ACK)), is_new);
            assert_eq!(send(Hook::Ingress, back(ACK)), is_new);
        });
    }
}
