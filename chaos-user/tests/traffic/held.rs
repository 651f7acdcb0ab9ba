//! Packets that are held by the product's own path: several delays at once on one device, as they leave
//! and as they arrive, and the device's own qdisc stays as it is.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use chaos::experiment::units::{Direction, Span};
use chaos::fault::{Backend, Detours, NetworkFault, Session, proven};
use chaos::host;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netlink::qdisc::{Handle, Place, QdiscSpec, RootQdisc, Tbf, TcSocket};
use chaos::plan::{Action, Detour, Impairment, Loss, Rule};

use crate::net::{FAMILIES, to_port};
use crate::support::{NEAR, Pair, isolated};

const LONG: Duration = Duration::from_mins(1);
const COUNT: u64 = 5;
/// The last is longer than any other can become on a machine that is held up.
const DELAYS: [(Direction, u64); 3] =
    [(Direction::To, 20), (Direction::From, 60), (Direction::To, 800)];

/// How long some datagrams take until the last has arrived.
fn takes(from: &UdpSocket, to: &UdpSocket) -> Duration {
    to.set_read_timeout(Some(LONG)).unwrap();
    let (began, address) = (Instant::now(), to.local_addr().unwrap());
    for _ in 0..COUNT {
        from.send_to(b"x", address).unwrap();
    }
    for _ in 0..COUNT {
        to.recv(&mut [0; 8]).unwrap();
    }
    began.elapsed()
}

fn several_delays_at_once(backend: Backend) {
    let pair = Pair::new();
    let links = || async { Netlink::open().unwrap().link(NEAR).await.unwrap().index };
    let device = pair.near.block_on(links).unwrap();
    let open = || TcSocket::open().unwrap();
    let tbf = Tbf { bytes_per_second: 125_000_000, burst: 65_536, limit: 1 << 20, peak: None };
    let place = Place::root(device, Handle::qdisc(0x77));
    pair.near.run(|| open().replace(place, &QdiscSpec::Tbf(tbf)).unwrap()).unwrap();
    let root = || pair.near.run(|| RootQdisc::snapshot(&mut open(), device).unwrap()).unwrap();
    let before = root();
    let mut ends = Vec::new();
    let mut rules = Vec::new();
    let mut held = Vec::new();
    for (far, near) in FAMILIES {
        for (direction, ms) in DELAYS {
            let (here, there) = (pair.near_socket(near), pair.far_socket(far));
            let port = there.local_addr().unwrap().port();
            let impairment = Impairment { latency: Span::from_ms(ms), ..Impairment::default() };
            let what = impairment.to_string();
            held.push((rules.len(), impairment));
            rules.push(Rule {
                name: format!("{far} {direction:?} {ms}"),
                selector: to_port(direction, port),
                action: Action::Detour(Detour { share: Loss::Always, what }),
            });
            ends.push((here, there, direction, Duration::from_millis(ms)));
        }
    }
    let fault = NetworkFault {
        detours: Detours { backend, rules: held, ..Detours::default() },
        rules,
        ..pair.fault(to_port(Direction::To, 1), Action::Drop(Loss::Always))
    };
    let mut active = Session::start("held", &[fault]).unwrap();
    assert_eq!(root(), before, "under the fault");
    for (here, there, direction, latency) in &ends {
        let (from, to) = if *direction == Direction::To { (here, there) } else { (there, here) };
        let took = takes(from, to);
        assert!(took >= *latency, "{direction:?} {latency:?}: {took:?}");
        // The other direction of the same flow is not held, however busy the machine is.
        if *latency > Duration::from_millis(400) {
            let back = takes(to, from);
            assert!(back < *latency, "{direction:?} {latency:?}: {back:?} back");
        }
    }
    active.stop();
    let delays = active.delays().unwrap();
    let evidence = active.heal().unwrap();
    assert_eq!(delays.len(), ends.len());
    for ((delay, rule), (_, _, _, latency)) in delays.iter().zip(&evidence).zip(&ends) {
        assert_eq!((delay.packets, rule.acted), (COUNT, COUNT), "{delay:?} {rule:?}");
        let median = Duration::from_nanos(delay.p50_ns.unwrap());
        assert!(median >= latency.mul_f64(0.999), "{delay:?}");
        if *latency < Duration::from_millis(400) {
            assert!(median < Duration::from_millis(800), "of another rule: {delay:?}");
        }
    }
    assert!(proven(&evidence, &delays));
    assert_eq!(root(), before, "after the fault");
    let (here, there, ..) = ends.last().unwrap();
    assert!(takes(here, there) < Duration::from_millis(800), "healed");
}

#[test]
fn the_line_holds_several_delays_at_once_in_and_out() {
    isolated("held::the_line_holds_several_delays_at_once_in_and_out", || {
        several_delays_at_once(Backend::DelayLine);
    });
}

#[test]
fn netem_holds_several_delays_at_once_in_and_out() {
    if host::netem().unwrap().is_err() {
        println!("CHAOS-SKIP netem_holds_several_delays_at_once_in_and_out netem");
        return;
    }
    isolated("held::netem_holds_several_delays_at_once_in_and_out", || {
        several_delays_at_once(Backend::Netem);
    });
}
