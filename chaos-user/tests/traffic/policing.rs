//! A rate: what it and the burst allow passes, and no more.

use std::time::{Duration, Instant};

use chaos::experiment::units::Direction;
use chaos::fault::Session;
use chaos::plan::{Action, Police};

use crate::net::{FAMILIES, datagrams, received, to_port};
use crate::support::{Pair, isolated};

/// Of a datagram, and of its frame over v4.
const PAYLOAD: usize = 458;
const FRAME: u64 = 500;

#[test]
fn what_exceeds_the_burst_and_the_rate_is_lost() {
    isolated("policing::what_exceeds_the_burst_and_the_rate_is_lost", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there, spared) =
            (pair.near_socket(near), pair.far_socket(far), pair.far_socket(far));
        let to = there.local_addr().unwrap();
        let rate: chaos::experiment::units::Rate = "8kbit".parse().unwrap();
        let police = Action::Police(Police { rate, burst: 20 * FRAME });
        let active =
            Session::start("rate", &[pair.fault(to_port(Direction::To, to.port()), police)])
                .unwrap();
        // Two frames a second.
        let per_second = rate.bytes() / FRAME;
        let earned = |time: Duration| (time.as_secs_f64() * per_second as f64) as u64;
        let send = |count: u64| {
            for _ in 0..count {
                here.send_to(&[0x5a; PAYLOAD], to).unwrap();
            }
            received(&there, count as usize) as u64
        };
        let begin = Instant::now();
        let first = send(100);
        let most = 20 + earned(begin.elapsed()) + 1;
        assert!((20..=most).contains(&first), "{first} of 100 passed; at most {most}");
        let rest = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        let least = earned(rest.elapsed());
        let second = send(50);
        let most = earned(begin.elapsed()) + 1 + 20 - first;
        assert!((least..=most).contains(&second), "{second} passed: {least} to {most}");
        assert_eq!(datagrams(&here, &spared, 200), 200);
        let evidence = active.heal().unwrap();
        assert_eq!(evidence[0].matched, 150);
        assert_eq!(evidence[0].acted, 150 - first - second);
        assert_eq!(evidence[0].bytes, FRAME * evidence[0].acted);
        assert_eq!(send(50), 50);
    });
}

#[test]
fn what_arrives_too_fast_over_v6_is_lost() {
    isolated("policing::what_arrives_too_fast_over_v6_is_lost", || {
        // 20 bytes more than over v4.
        const FRAME_V6: u64 = FRAME + 20;
        let pair = Pair::new();
        let (far, near) = FAMILIES[1];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let (to, port) = (here.local_addr().unwrap(), there.local_addr().unwrap().port());
        let rate: chaos::experiment::units::Rate = "8kbit".parse().unwrap();
        let police = Action::Police(Police { rate, burst: 20 * FRAME_V6 });
        let fault = pair.fault(to_port(Direction::From, port), police);
        let active = Session::start("rate", &[fault]).unwrap();
        let begin = Instant::now();
        for _ in 0..100 {
            there.send_to(&[0x5a; PAYLOAD], to).unwrap();
        }
        let passed = received(&here, 100) as u64;
        let earned = begin.elapsed().as_secs_f64() * (rate.bytes() / FRAME_V6) as f64;
        let most = 20 + earned as u64 + 1;
        assert!((20..=most).contains(&passed), "{passed} of 100 passed; at most {most}");
        let evidence = active.heal().unwrap();
        assert_eq!((evidence[0].matched, evidence[0].acted), (100, 100 - passed));
        assert_eq!(evidence[0].bytes, FRAME_V6 * evidence[0].acted);
    });
}
