//! Lost packets: which, and none beside them.

use std::io::ErrorKind;
use std::time::Duration;

use chaos::experiment::units::{Direction, Prefix};
use chaos::fault::Session;
use chaos::kernel::bpf::Mechanism;
use chaos::plan::{Action, Connections, Loss, Selector};

use crate::net::{FAMILIES, datagrams, ip, round_trip, to_port};
use crate::support::{Pair, isolated};

const DROP: Action = Action::Drop(Loss::Always);
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(10);

fn only_the_chosen_flows(mechanism: Mechanism) {
    let pair = Pair::new();
    for (far, near) in FAMILIES {
        let here = pair.near_socket(near);
        let (hit, spared) = (pair.far_socket(far), pair.far_socket(far));
        let echo = pair.echo(far);
        assert_eq!(datagrams(&here, &hit, 200), 200);
        let mut fault =
            pair.fault(to_port(Direction::Both, hit.local_addr().unwrap().port()), DROP);
        fault.mechanism = mechanism;
        let active = Session::start("drop", &[fault]).unwrap();
        let attached: Vec<_> = active.attached().map(|point| point.mechanism.clone()).collect();
        // Both directions of the device and of loopback.
        assert_eq!(attached.len(), 4);
        let first = &attached[0];
        assert!(attached.iter().all(|mechanism| mechanism == first), "{attached:?}");
        assert!(mechanism != Mechanism::Clsact || first == "clsact", "{attached:?}");
        let mut stream = pair.connect(echo, LONG).unwrap();
        for _ in 0..3 {
            assert_eq!(datagrams(&here, &hit, 40), 0);
            assert_eq!(datagrams(&hit, &here, 40), 0);
            assert_eq!(datagrams(&here, &spared, 200), 200);
            assert_eq!(datagrams(&spared, &here, 200), 200);
            round_trip(&mut stream, 300_000, LONG).unwrap();
        }
        let evidence = active.heal().unwrap();
        assert_eq!((evidence[0].matched, evidence[0].acted), (240, 240));
        assert!(evidence[0].seen >= 240 + 1200, "{evidence:?}");
        assert_eq!(datagrams(&here, &hit, 200), 200);
        assert_eq!(datagrams(&hit, &here, 200), 200);
    }
}

#[test]
fn only_the_chosen_flows_lose_anything() {
    isolated("drops::only_the_chosen_flows_lose_anything", || {
        only_the_chosen_flows(Mechanism::Auto);
    });
}

#[test]
fn only_the_chosen_flows_lose_anything_with_clsact() {
    isolated("drops::only_the_chosen_flows_lose_anything_with_clsact", || {
        only_the_chosen_flows(Mechanism::Clsact);
    });
}

#[test]
fn a_direction_is_one_direction() {
    isolated("drops::a_direction_is_one_direction", || {
        let pair = Pair::new();
        for (far, near) in FAMILIES {
            let (here, there) = (pair.near_socket(near), pair.far_socket(far));
            for (direction, out, back) in [(Direction::To, 0, 50), (Direction::From, 50, 0)] {
                let remote = vec![Prefix::from(ip(far))];
                let selector = Selector { direction, remote, ..Selector::default() };
                let active = Session::start("one-way", &[pair.fault(selector, DROP)]).unwrap();
                assert_eq!(datagrams(&here, &there, 50), out, "{direction}");
                assert_eq!(datagrams(&there, &here, 50), back, "{direction}");
                active.heal().unwrap();
            }
        }
    });
}

#[test]
fn a_share_of_flows_is_all_or_nothing_and_the_same_at_both_ends() {
    isolated("drops::a_share_of_flows_is_all_or_nothing_and_the_same_at_both_ends", || {
        const FLOWS: usize = 48;
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let there = pair.far_socket(far);
        let sockets: Vec<_> = (0..FLOWS).map(|_| pair.near_socket(near)).collect();
        let flows = Some("50%".parse().unwrap());
        let mut choices = Vec::new();
        for at_far in [false, true] {
            let selector = Selector { flows, direction: Direction::Both, ..Selector::default() };
            let mut fault = pair.fault(selector, DROP);
            if at_far {
                fault.netns = pair.far.clone();
            }
            let active = Session::start("flows", &[fault]).unwrap();
            let arrived: Vec<usize> =
                sockets.iter().map(|socket| datagrams(socket, &there, 5)).collect();
            assert!(arrived.iter().all(|&count| count == 0 || count == 5), "{arrived:?}");
            choices.push(arrived);
            active.heal().unwrap();
        }
        assert_eq!(choices[0], choices[1]);
        let hit = choices[0].iter().filter(|&&count| count == 0).count();
        assert!((8..=40).contains(&hit), "{hit} of {FLOWS}");
    });
}

#[test]
fn new_and_established_connections_are_told_apart() {
    isolated("drops::new_and_established_connections_are_told_apart", || {
        let pair = Pair::new();
        for (far, _) in FAMILIES {
            let echo = pair.echo(far);
            for age in [Connections::New, Connections::Established] {
                let mut old = pair.connect(echo, LONG).unwrap();
                round_trip(&mut old, 1000, LONG).unwrap();
                let selector =
                    Selector { connections: Some(age), ..to_port(Direction::Both, echo.port()) };
                let active = Session::start("age", &[pair.fault(selector, DROP)]).unwrap();
                let new = pair.connect(echo, SHORT);
                if age == Connections::New {
                    assert_eq!(new.unwrap_err().kind(), ErrorKind::TimedOut);
                    round_trip(&mut old, 300_000, LONG).unwrap();
                } else {
                    round_trip(&mut new.unwrap(), 300_000, LONG).unwrap();
                    assert!(round_trip(&mut old, 1000, SHORT).is_err());
                }
                active.heal().unwrap();
                // What was lost is sent again.
                round_trip(&mut pair.connect(echo, LONG).unwrap(), 1000, LONG).unwrap();
            }
        }
    });
}
