//! Single packets: how long they are held, and which.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use chaos::kernel::delay_line::{Config, Order, Parallel, Rate, Scheduling, Setting};

use crate::bed::{
    Bed, Direction, Echo, Family, NEAR, latency, round_trips, slot, slowness, steering,
};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(3);
const FAULTY: u16 = 7000;
const HEALTHY: u16 = 7001;

/// Two echo servers in the far namespace: on a port that is diverted and on one that is not.
fn echoes(bed: &Bed, at: IpAddr) -> [(SocketAddr, Echo); 2] {
    [FAULTY, HEALTHY].map(|port| {
        let at = SocketAddr::new(at, port);
        (at, Echo::start(&bed.far, at))
    })
}

/// How much later than it should be something may be here; emulation stretches it.
fn late(millis: u32) -> Duration {
    millis * slowness() * MS
}

/// Never early. How late an answer is says more about a shared machine's load than about the line,
/// so this bound is wide; the line's own evidence is held to a narrower one.
fn assert_latency(times: &[Duration], latency: Duration) {
    let (fastest, median) = (times[0], times[times.len() / 2]);
    assert!(fastest >= latency, "a packet was early: {fastest:?} < {latency:?}");
    assert!(median < latency + late(8), "half of the packets took {median:?}, not {latency:?}");
}

fn delays_only_what_was_chosen(direction: Direction, family: Family) {
    let mut bed = Bed::new(&Config::default());
    let [(faulty, _one), (healthy, other)] = echoes(&bed, family.far());
    bed.catch(NEAR, direction);
    bed.divert(FAULTY.into(), slot(1), NEAR, direction, latency(10.0));

    let times = round_trips(&bed.near, faulty, 50, PATIENCE).unwrap();
    assert_latency(&times, 10 * MS);
    let healthy = round_trips(&bed.near, healthy, 50, PATIENCE).unwrap();
    assert!(healthy[25] < late(8), "an unchosen flow took {:?}", healthy[25]);
    drop(other);

    let evidence = bed.line().evidence(slot(1)).unwrap().unwrap();
    let counters = evidence.counters;
    assert_eq!((counters.arrived, counters.released, counters.held), (50, 50, 0));
    assert_eq!((counters.bypassed, counters.dropped, counters.refused), (0, 0, 0));
    let hold = evidence.hold.quantile(0.5).unwrap();
    assert!((10 * MS..10 * MS + late(2)).contains(&hold), "held for {hold:?}");
    assert!(evidence.hold.mean().unwrap() >= 10 * MS);
    let status = bed.line().status().unwrap();
    assert_eq!((status.strays, status.overruns, status.held), (0, Some(0), 0));
}

#[test]
fn delays_chosen_packets_at_egress() {
    delays_only_what_was_chosen(Direction::Egress, Family::V4);
    delays_only_what_was_chosen(Direction::Egress, Family::V6);
}

#[test]
fn delays_chosen_packets_at_ingress() {
    delays_only_what_was_chosen(Direction::Ingress, Family::V4);
    delays_only_what_was_chosen(Direction::Ingress, Family::V6);
}

/// Packets that come back to the loopback device have lost their route; IPv4 takes such packets
/// only when told to.
#[test]
fn delays_loopback_in_both_families() {
    for family in [Family::V4, Family::V6] {
        let mut bed = Bed::new(&Config::default());
        if family == Family::V4 {
            let switched = bed.near.run(|| {
                std::fs::write("/proc/sys/net/ipv4/conf/lo/route_localnet", "1")?;
                std::fs::write("/proc/sys/net/ipv4/conf/lo/accept_local", "1")
            });
            switched.unwrap().unwrap();
        }
        let at = SocketAddr::new(family.loopback(), FAULTY);
        let own = SocketAddr::new(family.near(), HEALTHY);
        let echoes = [at, own].map(|at| Echo::start(&bed.near, at));
        bed.catch("lo", Direction::Egress);
        bed.divert(FAULTY.into(), slot(1), "lo", Direction::Egress, latency(10.0));
        bed.divert(HEALTHY.into(), slot(2), "lo", Direction::Egress, latency(5.0));
        // There and back are both egress of this device.
        let times = round_trips(&bed.near, at, 20, PATIENCE);
        assert_latency(&times.unwrap_or_else(|error| panic!("{family:?}: {error}")), 20 * MS);
        let times = round_trips(&bed.near, own, 20, PATIENCE);
        assert_latency(&times.unwrap_or_else(|error| panic!("{family:?} own: {error}")), 10 * MS);
        drop(echoes);
    }
}

#[test]
fn many_slots_and_devices_share_one_line() {
    let mut bed = Bed::new(&Config::default());
    let far = |port| SocketAddr::new(Family::V4.far(), port);
    let local = SocketAddr::new(Family::V6.loopback(), 7003);
    let echoes: Vec<_> = (7000..7003).map(|port| Echo::start(&bed.far, far(port))).collect();
    let loopback = Echo::start(&bed.near, local);
    bed.catch(NEAR, Direction::Egress);
    bed.catch("lo", Direction::Egress);
    bed.divert(7000, slot(4094), NEAR, Direction::Egress, latency(12.0));
    bed.divert(7001, slot(17), NEAR, Direction::Egress, latency(40.0));
    bed.divert(7003, slot(1), "lo", Direction::Egress, latency(10.0));
    thread::scope(|scope| {
        for (at, expected) in [(far(7000), 12), (far(7001), 40), (local, 20), (far(7002), 0)] {
            let near = &bed.near;
            scope.spawn(move || {
                assert_latency(&round_trips(near, at, 20, PATIENCE).unwrap(), MS * expected);
            });
        }
    });
    drop((echoes, loopback));
}

#[test]
fn a_changed_setting_holds_for_later_packets() {
    let mut bed = Bed::new(&Config::default());
    let [(faulty, _one), _other] = echoes(&bed, Family::V4.far());
    bed.catch(NEAR, Direction::Egress);
    bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, latency(1.0));
    let index = bed.index(NEAR);
    for millis in [2_u32, 5, 20] {
        bed.line().set(slot(1), index, latency(millis.into())).unwrap();
        assert_latency(&round_trips(&bed.near, faulty, 10, PATIENCE).unwrap(), millis * MS);
    }
    assert_eq!(bed.line().evidence(slot(1)).unwrap().unwrap().counters.released, 30);
}

#[test]
fn jitter_and_rate_act_on_real_packets() {
    let mut bed = Bed::new(&Config { seed: 3, ..Config::default() });
    let [(faulty, _one), _other] = echoes(&bed, Family::V4.far());
    bed.catch(NEAR, Direction::Egress);
    let jitter = Setting { jitter: 5 * MS, order: Order::Free, ..latency(10.0) };
    bed.divert(FAULTY.into(), slot(1), NEAR, Direction::Egress, jitter);
    let times = round_trips(&bed.near, faulty, 100, PATIENCE).unwrap();
    assert!(times[0] >= 5 * MS && times[0] < 5 * MS + late(3), "{times:?}");
    assert!(times[90] > 12 * MS, "{times:?}");

    // 50 bytes on the wire at 10 000 bytes/s.
    let rate = Rate {
        bytes_per_second: 10_000.try_into().unwrap(),
        overhead: 0,
        queue_packets: 100,
        queue_bytes: 1 << 20,
    };
    let index = bed.index(NEAR);
    let setting = Setting { rate: Some(rate), ..Setting::default() };
    bed.line().set(slot(1), index, setting).unwrap();
    assert_latency(&round_trips(&bed.near, faulty, 20, PATIENCE).unwrap(), 5 * MS);
}

#[test]
fn several_workers_share_the_slots() {
    let parallel = Parallel { queues: 3.try_into().unwrap(), steering: steering() };
    let mut bed = Bed::new(&Config { parallel: Some(parallel), ..Config::default() });
    bed.catch(NEAR, Direction::Egress);
    let at = |port| SocketAddr::new(Family::V4.far(), port);
    let mut echoes = Vec::new();
    for (number, port) in [(1, 7000), (2, 7001), (3, 7002), (4094, 7003)] {
        let millis = f64::from(number % 7);
        bed.divert(port.into(), slot(number), NEAR, Direction::Egress, latency(millis));
        echoes.push(Echo::start(&bed.far, at(port)));
        let times = round_trips(&bed.near, at(port), 20, PATIENCE).unwrap();
        assert_latency(&times, MS * u32::from(number % 7));
        let counters = bed.line().evidence(slot(number)).unwrap().unwrap().counters;
        assert_eq!((counters.arrived, counters.released), (20, 20), "slot {number}");
    }
    let status = bed.line().status().unwrap();
    assert_eq!((status.strays, status.overruns), (0, Some(0)));
    bed.undivert();
    let (result, evidence) = bed.line.take().unwrap().stop();
    result.unwrap();
    assert_eq!(evidence.iter().map(|one| one.0.get()).collect::<Vec<_>>(), [1, 2, 3, 4094]);
    assert!(bed.near.run(|| nix::net::if_::if_nametoindex("chaosd0")).unwrap().is_err());
}

#[test]
fn real_time_scheduling_is_reported() {
    let bed = Bed::new(&Config { realtime: 7, ..Config::default() });
    let scheduling = bed.line().status().unwrap().scheduling;
    // Some containers have no real-time bandwidth, even for root.
    assert!(
        matches!(scheduling, Scheduling::Realtime(7) | Scheduling::Refused(_)),
        "{scheduling:?}"
    );
    let bed = Bed::new(&Config { realtime: 0, ..Config::default() });
    assert_eq!(bed.line().status().unwrap().scheduling, Scheduling::Normal);
}
