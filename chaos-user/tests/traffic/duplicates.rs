//! Copies: as many as the rules say, of what they chose, and no copies of copies.

use std::net::UdpSocket;
use std::time::Duration;

use chaos::experiment::units::Direction;
use chaos::fault::Session;
use chaos::kernel::bpf::Mechanism;
use chaos::plan::{Action, Duplicate, Loss, Rule};

use crate::net::{FAMILIES, datagrams, received, round_trip, to_port};
use crate::support::{Pair, isolated};

const LONG: Duration = Duration::from_secs(20);
const SENT: usize = 20;

/// A direction, and how often each packet arrives that goes to the port, or comes from it.
type Case = (Direction, usize, usize);

fn duplicate(copies: u8) -> Action {
    Action::Duplicate(Duplicate { share: Loss::Always, copies })
}

fn rule(direction: Direction, socket: &UdpSocket, copies: u8) -> Rule {
    let port = socket.local_addr().unwrap().port();
    Rule {
        name: format!("{direction} {port}"),
        selector: to_port(direction, port),
        action: duplicate(copies),
    }
}

/// How many arrive of [`SENT`].
fn arrived(from: &UdpSocket, to: &UdpSocket) -> usize {
    for n in 0..SENT {
        from.send_to(&n.to_ne_bytes(), to.local_addr().unwrap()).unwrap();
    }
    received(to, 10 * SENT)
}

fn copies_arrive(mechanism: Mechanism) {
    const CASES: [Case; 3] =
        [(Direction::To, 4, 1), (Direction::From, 1, 4), (Direction::Both, 4, 4)];
    let pair = Pair::new();
    let mut rules = Vec::new();
    let mut flows = Vec::new();
    let mut streams = Vec::new();
    for (far, near) in FAMILIES {
        let here = pair.near_socket(near);
        for case in CASES {
            let there = pair.far_socket(far);
            rules.push(rule(case.0, &there, 3));
            flows.push((here.try_clone().unwrap(), there, case));
        }
        flows.push((here, pair.far_socket(far), (Direction::Both, 1, 1)));
        let echo = pair.echo(far);
        let share = Loss::Exact("10%".parse().unwrap());
        rules.push(Rule {
            name: "stream".into(),
            selector: to_port(Direction::Both, echo.port()),
            action: Action::Duplicate(Duplicate { share, copies: 1 }),
        });
        streams.push(echo);
    }
    let mut fault = pair.fault(rules[0].selector.clone(), duplicate(1));
    fault.rules = rules;
    fault.mechanism = mechanism;
    let active = Session::start("duplicate", &[fault]).unwrap();
    for (here, there, (direction, out, back)) in &flows {
        assert_eq!(arrived(here, there), out * SENT, "{direction}");
        assert_eq!(arrived(there, here), back * SENT, "{direction}");
    }
    for echo in streams {
        let mut stream = pair.connect(echo, LONG).unwrap();
        round_trip(&mut stream, 500_000, LONG).unwrap();
    }
    assert!(active.remarks().unwrap().is_empty());
    let evidence = active.heal().unwrap();
    for rule in &evidence {
        let chosen = if rule.rule.starts_with("both") { 2 } else { 1 } * SENT as u64;
        if rule.rule == "stream" {
            assert!(rule.acted > 0 && rule.acted < rule.matched, "{rule:?}");
        } else {
            assert_eq!((rule.matched, rule.acted), (chosen, chosen), "{rule:?}");
        }
    }
    let (here, there, _) = &flows[0];
    assert_eq!(datagrams(here, there, 100), 100);
}

#[test]
fn copies_arrive_once_each() {
    isolated("duplicates::copies_arrive_once_each", || copies_arrive(Mechanism::Auto));
}

#[test]
fn copies_arrive_once_each_with_clsact() {
    isolated("duplicates::copies_arrive_once_each_with_clsact", || {
        copies_arrive(Mechanism::Clsact);
    });
}

#[test]
fn on_loopback_too() {
    isolated("duplicates::on_loopback_too", || {
        // Packets to the port leave towards it, and packets from it arrive.
        const CASES: [Case; 2] = [(Direction::To, 2, 1), (Direction::From, 1, 2)];
        let pair = Pair::new();
        let mut rules = Vec::new();
        let mut flows = Vec::new();
        for address in ["127.0.0.1", "10.77.0.1", "::1", "fd77::1"] {
            for case in CASES {
                let (here, there) = (pair.near_socket(address), pair.near_socket(address));
                rules.push(rule(case.0, &there, 1));
                flows.push((here, there, case));
            }
        }
        let mut fault = pair.fault(rules[0].selector.clone(), duplicate(1));
        fault.rules = rules;
        let active = Session::start("duplicate", &[fault]).unwrap();
        for (here, there, (direction, out, back)) in flows {
            let what = format!("{direction} {:?}", there.local_addr());
            assert_eq!(arrived(&here, &there), out * SENT, "{what}");
            assert_eq!(arrived(&there, &here), back * SENT, "{what}");
        }
        active.heal().unwrap();
    });
}

#[test]
fn copies_of_several_rules_add_up_and_stop_at_eight() {
    isolated("duplicates::copies_of_several_rules_add_up_and_stop_at_eight", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let here = pair.near_socket(near);
        let cases = [(vec![1, 2], 4), (vec![1, 1, 1, 1], 5), (vec![8, 8, 3], 9)];
        let mut rules = Vec::new();
        let mut flows = Vec::new();
        for (copies, packets) in cases {
            let there = pair.far_socket(far);
            rules.extend(copies.iter().map(|&copies| rule(Direction::To, &there, copies)));
            flows.push((there, packets));
        }
        let mut fault = pair.fault(rules[0].selector.clone(), duplicate(1));
        fault.rules = rules;
        let active = Session::start("duplicate", &[fault]).unwrap();
        for (there, packets) in flows {
            assert_eq!(arrived(&here, &there), packets * SENT);
        }
        active.heal().unwrap();
    });
}

#[test]
fn runs_are_networks_one_behind_the_other() {
    isolated("duplicates::runs_are_networks_one_behind_the_other", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let port = there.local_addr().unwrap().port();
        for mechanism in [Mechanism::Auto, Mechanism::Clsact] {
            let run = |name, copies| {
                let mut fault = pair.fault(to_port(Direction::Both, port), duplicate(copies));
                fault.mechanism = mechanism;
                Session::start(name, &[fault]).unwrap()
            };
            let (one, two) = (run("one", 1), run("two", 2));
            // Each run copies what comes to it, and nobody copies his own copies.
            assert_eq!(arrived(&here, &there), 2 * 3 * SENT);
            assert_eq!(arrived(&there, &here), 2 * 3 * SENT);
            two.heal().unwrap();
            assert_eq!(arrived(&here, &there), 2 * SENT);
            one.heal().unwrap();
            assert_eq!(arrived(&here, &there), SENT);
        }
    });
}
