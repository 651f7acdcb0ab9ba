//! How faults end: by the kernel's clock, by the lease, by death, by healing.

use std::time::{Duration, Instant};

use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{SchedClassifier, TcAttachType};
use chaos::experiment::units::{Direction, Span};
use chaos::fault::{Live, Session, heal_runs};
use chaos::kernel::bpf::Mechanism;
use chaos::kernel::netlink::Netlink;
use chaos::plan::{Action, Loss};
use nix::sys::signal::Signal;

use crate::net::{FAMILIES, datagrams, to_port, until_it_flows};
use crate::roles::Helper;
use crate::support::{NEAR, Pair, isolated};

const DROP: Action = Action::Drop(Loss::Always);

/// Filters of the near device in either direction.
fn filters(pair: &Pair) -> usize {
    pair.near
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            let index = netlink.link(NEAR).await.unwrap().index;
            let mut count = 0;
            for direction in ["ingress", "egress"] {
                count += netlink.bpf_filters(index, direction).await.unwrap().len();
            }
            count
        })
        .unwrap()
}

/// Nothing is attached to the near device, and no clsact is there.
fn assert_bare(pair: &Pair) {
    assert_eq!(filters(pair), 0);
    pair.near
        .run(|| {
            for attach_type in [TcAttachType::Ingress, TcAttachType::Egress] {
                // Kernels without TCX have none to ask about.
                if let Ok((_, programs)) = SchedClassifier::query_tcx(NEAR, attach_type) {
                    assert!(programs.is_empty(), "{attach_type:?}: {programs:?}");
                }
            }
            // Fails where there is one.
            let added = qdisc_add_clsact(NEAR);
            assert!(added.is_ok(), "clsact was left behind: {added:?}");
        })
        .unwrap();
    pair.near
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            let index = netlink.link(NEAR).await.unwrap().index;
            assert!(netlink.delete_clsact_if_empty(index).await.unwrap());
        })
        .unwrap();
}

#[test]
fn the_kernel_ends_a_fault_at_its_deadline() {
    isolated("endings::the_kernel_ends_a_fault_at_its_deadline", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        for mechanism in [Mechanism::Auto, Mechanism::Clsact] {
            let port = there.local_addr().unwrap().port();
            let mut fault = pair.fault(to_port(Direction::To, port), DROP);
            fault.lasts = Span::from_secs(1);
            fault.mechanism = mechanism;
            let start = Instant::now();
            let active = Session::start("deadline", &[fault]).unwrap();
            let in_force = Instant::now();
            until_it_flows(&here, &there, Duration::from_secs(5));
            assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
            let late = in_force.elapsed();
            assert!(late < Duration::from_millis(1200), "{late:?}");
            // Still attached, and inert.
            assert_eq!(active.remaining(), Duration::ZERO);
            assert_eq!(datagrams(&here, &there, 200), 200);
            let evidence = active.heal().unwrap();
            assert!(evidence[0].acted > 0);
        }
    });
}

#[test]
fn healing_leaves_nothing_behind() {
    isolated("endings::healing_leaves_nothing_behind", || {
        let pair = Pair::new();
        assert_bare(&pair);
        for mechanism in [Mechanism::Auto, Mechanism::Clsact] {
            for drop_it in [false, true] {
                let mut fault = pair.fault(to_port(Direction::Both, 9), DROP);
                fault.mechanism = mechanism;
                let active = Session::start("bare", &[fault]).unwrap();
                if mechanism == Mechanism::Clsact {
                    assert_eq!(filters(&pair), 2);
                }
                if drop_it {
                    drop(active);
                } else {
                    active.heal().unwrap();
                }
                assert_bare(&pair);
            }
        }
        assert_eq!(chaos::fault::runs().unwrap().len(), 0);
    });
}

#[test]
fn a_stopped_controller_loses_its_lease() {
    isolated("endings::a_stopped_controller_loses_its_lease", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[1];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let mut holder = Helper::start("holder", &pair.near);
        let port = there.local_addr().unwrap().port();
        holder.ask(&format!("{port} auto"));
        // Longer than a lease: it is extended.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            assert_eq!(datagrams(&here, &there, 20), 0);
        }
        holder.signal(Signal::SIGSTOP);
        let took = until_it_flows(&here, &there, Duration::from_secs(5));
        println!("traffic flows {took:?} after the stop");
        assert!((Duration::from_millis(500)..Duration::from_millis(1200)).contains(&took));
        assert_eq!(datagrams(&here, &there, 200), 200);
        holder.signal(Signal::SIGCONT);
        // It holds on: its fault is in force again as soon as the lease is.
        let start = Instant::now();
        while datagrams(&here, &there, 5) != 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "the lease was not taken up again");
        }
    });
}

#[test]
fn a_killed_controller_takes_its_fault_along() {
    isolated("endings::a_killed_controller_takes_its_fault_along", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let mut holder = Helper::start("holder", &pair.near);
        let port = there.local_addr().unwrap().port();
        let mechanism = holder.ask(&format!("{port} auto"));
        assert_eq!(datagrams(&here, &there, 20), 0);
        holder.signal(Signal::SIGKILL);
        let took = until_it_flows(&here, &there, Duration::from_secs(5));
        println!("{mechanism}: traffic flows {took:?} after the kill");
        if mechanism == "tcx" {
            assert!(took < Duration::from_millis(500), "{took:?}");
        }
        assert!(took < Duration::from_millis(1200), "{took:?}");
        holder.wait();
        assert_eq!(datagrams(&here, &there, 200), 200);
    });
}

#[test]
fn what_a_killed_controller_left_is_healed() {
    isolated("endings::what_a_killed_controller_left_is_healed", || {
        let pair = Pair::new();
        let (far, near) = FAMILIES[0];
        let (here, there) = (pair.near_socket(near), pair.far_socket(far));
        let mut holder = Helper::start("holder", &pair.near);
        // The namespace lives on in a process, as namespaces of services do.
        let resident = Helper::start("sender", &pair.near);
        let port = there.local_addr().unwrap().port();
        assert_eq!(holder.ask(&format!("{port} clsact")), "clsact");
        assert_eq!(datagrams(&here, &there, 20), 0);
        holder.signal(Signal::SIGKILL);
        let took = until_it_flows(&here, &there, Duration::from_secs(5));
        assert!(took < Duration::from_millis(1200), "{took:?}");
        holder.wait();
        assert_eq!(filters(&pair), 1, "a filter outlives its process");
        let report = heal_runs(&[], Live::Ask).unwrap();
        assert_eq!(report.left, [""; 0]);
        assert_eq!(report.recovered.len(), 1, "{report:?}");
        assert_bare(&pair);
        let again = heal_runs(&[], Live::Ask).unwrap();
        assert!(again.recovered.is_empty() && again.left.is_empty(), "{again:?}");
        drop(resident);
    });
}
