//! What can go wrong: traffic must flow afterwards, and the error must say what happened.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use chaos::kernel::delay_line::{Config, DelayLine, DelayLineError, Setting};

use crate::bed::{Bed, Direction, Echo, Family, LEASE, NEAR, latency, round_trips, slot, slowness};

const PORT: u16 = 7200;

fn bed_with_echo(millis: f64) -> (Bed, SocketAddr, Echo) {
    let mut bed = Bed::new(&Config::default());
    let at = SocketAddr::new(Family::V4.far(), PORT);
    let echo = Echo::start(&bed.far, at);
    bed.catch(NEAR, Direction::Egress);
    bed.divert(PORT.into(), slot(1), NEAR, Direction::Egress, latency(millis));
    (bed, at, echo)
}

/// How long until a packet comes through in less than `quick`.
fn until_it_flows(bed: &Bed, at: SocketAddr, quick: Duration) -> Duration {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        if round_trips(&bed.near, at, 1, quick).is_ok() {
            return started.elapsed();
        }
    }
    panic!("no packet came through in 5 s");
}

fn wait_until(or_else: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(3) * slowness();
    while !done() {
        assert!(Instant::now() < deadline, "{or_else}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn device_exists(bed: &Bed, name: &str) -> bool {
    bed.near.run(|| nix::net::if_::if_nametoindex(name)).unwrap().is_ok()
}

#[test]
fn a_dead_worker_lets_traffic_pass_within_a_lease() {
    let (mut bed, at, _echo) = bed_with_echo(500.0);
    assert!(round_trips(&bed.near, at, 1, Duration::from_secs(3)).unwrap()[0].as_millis() >= 500);
    let tap = bed.line().tap_name().to_owned();
    bed.delete_near_device(&tap);
    let took = until_it_flows(&bed, at, Duration::from_millis(10) * slowness());
    assert!(took < LEASE + Duration::from_millis(200) * slowness(), "it took {took:?}");
    assert_eq!(bed.line().heartbeat().last(), None);
    assert!(matches!(bed.line().status(), Err(DelayLineError::Ended)));
    let (result, evidence) = bed.line.take().unwrap().stop();
    let error = result.unwrap_err();
    assert!(matches!(error, DelayLineError::TapGone { .. }), "{error}");
    assert!(error.to_string().contains(&tap), "{error}");
    assert_eq!(evidence.len(), 1);
}

#[test]
fn a_vanished_device_ends_the_line_with_an_error() {
    let (mut bed, at, _echo) = bed_with_echo(60_000.0);
    let tap = bed.line().tap_name().to_owned();
    let flying = thread::spawn({
        let near = bed.near.clone();
        move || round_trips(&near, at, 1, Duration::from_millis(500))
    });
    wait_until("the packet did not arrive", || bed.line().status().unwrap().held == 1);
    bed.delete_near_device(NEAR);
    wait_until("the line did not end", || bed.line().status().is_err());
    assert!(flying.join().unwrap().is_err());
    let (result, evidence) = bed.line.take().unwrap().stop();
    let error = result.unwrap_err();
    assert!(matches!(error, DelayLineError::TargetGone { .. }), "{error}");
    assert!(!device_exists(&bed, &tap), "the TAP is left behind");
    let counters = evidence[0].1.counters;
    assert_eq!((counters.arrived, counters.held), (1, 0));
}

#[test]
fn losing_one_device_of_two_leaves_the_other_in_work() {
    let (mut bed, _, _echo) = bed_with_echo(1.0);
    let at = SocketAddr::new(Family::V6.loopback(), 7201);
    let _local = Echo::start(&bed.near, at);
    bed.catch("lo", Direction::Egress);
    bed.divert(7201, slot(2), "lo", Direction::Egress, latency(5.0));
    let gone = bed.index(NEAR);
    bed.delete_near_device(NEAR);
    wait_until("the loss was not noticed", || bed.line().status().unwrap().lost == [gone]);
    let times = round_trips(&bed.near, at, 5, Duration::from_secs(3)).unwrap();
    assert!(times[0] >= Duration::from_millis(10));
    let error = bed.line().set(slot(3), gone, Setting::default()).unwrap_err();
    assert!(matches!(error, DelayLineError::NoTarget { .. }), "{error}");
    assert!(bed.line.take().unwrap().stop().0.is_ok());
}

#[test]
fn stopping_delivers_what_is_held() {
    let (mut bed, at, _echo) = bed_with_echo(60_000.0);
    let flying = thread::spawn({
        let near = bed.near.clone();
        move || round_trips(&near, at, 1, Duration::from_secs(5))
    });
    wait_until("the packet did not arrive", || bed.line().status().unwrap().held == 1);
    bed.undivert();
    let tap = bed.line().tap_name().to_owned();
    let (result, evidence) = bed.line.take().unwrap().stop();
    result.unwrap();
    let took = flying.join().unwrap().unwrap()[0];
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(evidence[0].1.counters.released, 1);
    assert!(!device_exists(&bed, &tap));
}

#[test]
fn retiring_a_slot_delivers_what_it_holds_and_what_is_under_way() {
    let (bed, at, _echo) = bed_with_echo(60_000.0);
    let flying = thread::spawn({
        let near = bed.near.clone();
        move || round_trips(&near, at, 1, Duration::from_secs(5))
    });
    wait_until("the packet did not arrive", || bed.line().status().unwrap().held == 1);
    let evidence = bed.line().retire(slot(1)).unwrap().unwrap();
    assert_eq!((evidence.counters.released, evidence.counters.held), (1, 0));
    flying.join().unwrap().unwrap();
    // The programs still divert: nobody told them.
    let times = round_trips(&bed.near, at, 5, Duration::from_secs(1)).unwrap();
    assert!(times[2] < Duration::from_millis(5) * slowness(), "{times:?}");
    let counters = bed.line().evidence(slot(1)).unwrap().unwrap().counters;
    assert_eq!(counters.bypassed, 5);
    assert!(bed.line().retire(slot(99)).unwrap().is_none());
}

#[test]
fn without_the_right_it_says_which_right_is_missing() {
    let refused = thread::spawn(|| {
        // Rights are the thread's own, and its children inherit them.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        DelayLine::start(Config::default()).map(drop)
    });
    let error = refused.join().unwrap().unwrap_err();
    assert!(matches!(error, DelayLineError::CreateTap { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("cannot create the TAP device chaosd%d"), "{text}");
    assert!(text.ends_with("(this needs CAP_NET_ADMIN)"), "{text}");
}

#[test]
fn a_bad_setting_changes_nothing() {
    let (bed, at, _echo) = bed_with_echo(5.0);
    let index = bed.index(NEAR);
    let error = bed.line().set(slot(1), index, latency(3_600_001.0)).unwrap_err().to_string();
    assert!(error.starts_with("cannot use slot 1 of the delay line: a latency of"), "{error}");
    let times = round_trips(&bed.near, at, 5, Duration::from_secs(1)).unwrap();
    assert!(
        times[0] >= Duration::from_millis(5)
            && times[2] < Duration::from_millis(5) + Duration::from_millis(3) * slowness()
    );
}
