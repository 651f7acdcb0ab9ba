//! Refused packets and calls, as programs see them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use chaos::experiment::units::Direction;
use chaos::fault::Session;
use chaos::host::Cgroups;
use chaos::plan::{Action, Answer, Errno, Reject};

use crate::net::{FAMILIES, datagrams, round_trip, to_port};
use crate::support::{Pair, isolated};

const LONG: Duration = Duration::from_secs(10);

fn refuse(answer: Answer, errno: Option<Errno>) -> Action {
    Action::Reject(Reject { answer, errno })
}

#[test]
fn connecting_gives_the_errno_at_once_and_in_this_namespace_only() {
    const NAME: &str = "refusals::connecting_gives_the_errno_at_once_and_in_this_namespace_only";
    isolated(NAME, || {
        if Cgroups::find().is_err() {
            println!("CHAOS-SKIP {NAME} cgroup2");
            return;
        }
        let pair = Pair::new();
        for (far, _) in FAMILIES {
            let echo = pair.echo(far);
            for (errno, kind) in [
                (Errno::CONNECTION_REFUSED, ErrorKind::ConnectionRefused),
                ("EHOSTUNREACH".parse().unwrap(), ErrorKind::HostUnreachable),
            ] {
                let action = refuse(Answer::Auto, Some(errno));
                let fault = pair.fault(to_port(Direction::To, echo.port()), action);
                let active = Session::start("connect", &[fault]).unwrap();
                let start = Instant::now();
                let refused = pair.connect(echo, LONG).unwrap_err();
                assert_eq!(refused.kind(), kind, "{refused}");
                assert!(start.elapsed() < Duration::from_secs(1));
                let elsewhere = pair.far.run(|| std::net::TcpStream::connect(echo)).unwrap();
                round_trip(&mut elsewhere.unwrap(), 1000, LONG).unwrap();
                let other = pair.echo(far);
                round_trip(&mut pair.connect(other, LONG).unwrap(), 1000, LONG).unwrap();
                let evidence = active.heal().unwrap();
                assert!(evidence[0].is_proof(), "{evidence:?}");
                round_trip(&mut pair.connect(echo, LONG).unwrap(), 1000, LONG).unwrap();
            }
        }
    });
}

#[test]
fn a_refused_handshake_is_reset() {
    isolated("refusals::a_refused_handshake_is_reset", || {
        let pair = Pair::new();
        for (far, _) in FAMILIES {
            let echo = pair.echo(far);
            for direction in [Direction::To, Direction::From] {
                let fault = pair.fault(to_port(direction, echo.port()), refuse(Answer::Auto, None));
                let active = Session::start("syn", &[fault]).unwrap();
                let start = Instant::now();
                let outcome = pair.connect(echo, Duration::from_secs(2));
                if direction == Direction::To {
                    let refused = outcome.unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{far}: {refused}");
                    assert!(start.elapsed() < Duration::from_secs(1));
                } else {
                    // The far end is reset, so the handshake goes unanswered.
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
                }
                assert!(active.heal().unwrap()[0].is_proof());
            }
        }
    });
}

#[test]
fn an_established_connection_is_reset() {
    isolated("refusals::an_established_connection_is_reset", || {
        let pair = Pair::new();
        for (far, _) in FAMILIES {
            let echo = pair.echo(far);
            let spared = pair.echo(far);
            let mut stream = pair.connect(echo, LONG).unwrap();
            let mut other = pair.connect(spared, LONG).unwrap();
            round_trip(&mut stream, 100_000, LONG).unwrap();
            let fault = pair.fault(to_port(Direction::To, echo.port()), refuse(Answer::Auto, None));
            let active = Session::start("reset", &[fault]).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            stream.write_all(b"anybody there?").unwrap();
            let error = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{far}: {error}");
            round_trip(&mut other, 300_000, LONG).unwrap();
            assert!(active.heal().unwrap()[0].is_proof());
        }
    });
}

#[test]
fn a_datagram_is_answered_with_unreachable() {
    isolated("refusals::a_datagram_is_answered_with_unreachable", || {
        let pair = Pair::new();
        // Of the other kinds a datagram socket hears only when it asks for errors.
        let prohibited = [ErrorKind::HostUnreachable, ErrorKind::PermissionDenied];
        for ((far, near), prohibited) in FAMILIES.into_iter().zip(prohibited) {
            for (answer, kind) in [
                (Answer::Auto, ErrorKind::ConnectionRefused),
                (Answer::PortUnreachable, ErrorKind::ConnectionRefused),
                (Answer::AdminProhibited, prohibited),
            ] {
                // A socket each, because an error may be told later.
                let (here, spare) = (pair.near_socket(near), pair.near_socket(near));
                let (hit, spared) = (pair.far_socket(far), pair.far_socket(far));
                let port = hit.local_addr().unwrap().port();
                let fault = pair.fault(to_port(Direction::To, port), refuse(answer, None));
                let active = Session::start("udp", &[fault]).unwrap();
                here.connect(hit.local_addr().unwrap()).unwrap();
                here.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                here.send(b"hello").unwrap();
                let error = here.recv(&mut [0; 8]).unwrap_err();
                assert_eq!(error.kind(), kind, "{far}, {answer:?}: {error}");
                assert_eq!(datagrams(&spare, &spared, 200), 200);
                let evidence = active.heal().unwrap();
                assert_eq!(evidence[0].acted, 1);
            }
        }
    });
}
