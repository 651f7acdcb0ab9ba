//! Many settings on one device, steered by class.

use std::time::Duration;

use chaos::kernel::netlink::qdisc::{
    DetourTree, Handle, Netem, Place, QdiscSpec, RootQdisc, Steering, TreeError,
};

use crate::TBF;
use crate::support::{Bench, LOOPBACK, has, skip};
use crate::udp::Pipe;

fn steerings(tc: &mut chaos::kernel::netlink::qdisc::TcSocket) -> Vec<Steering> {
    if has(tc, "prio") { vec![Steering::Htb, Steering::Prio] } else { vec![Steering::Htb] }
}

#[test]
fn without_netem_nothing_stays_behind() {
    Bench::run(|tc, device| {
        if has(tc, "netem") {
            return skip("without_netem_nothing_stays_behind", "kernel-without-netem");
        }
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let mut tree = DetourTree::install(tc, device, None).unwrap();
        let error = tree.add(tc, &Netem::default()).unwrap_err();
        assert!(matches!(&error, TreeError::Qdisc(error) if error.is_unsupported()), "{error}");
        let htb = tc.classes(device).unwrap();
        assert!(htb.iter().all(|class| class.kind != "htb"), "{htb:?}");
        tree.uninstall(tc).unwrap();
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn a_qdisc_of_somebody_else_is_left_alone() {
    Bench::run(|tc, device| {
        tc.add(Place::root(device, Handle::qdisc(1)), &QdiscSpec::Tbf(TBF)).unwrap();
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let error = DetourTree::install(tc, device, None).unwrap_err();
        assert!(matches!(error, TreeError::NotOurs { .. }), "{error}");
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn equal_settings_share_a_leaf_and_the_rest_have_their_own() {
    Bench::run(|tc, device| {
        if !has(tc, "netem") {
            return skip("equal_settings_share_a_leaf_and_the_rest_have_their_own", "sch_netem");
        }
        for steering in steerings(tc) {
            let mut tree = DetourTree::install(tc, device, Some(steering)).unwrap();
            let delay = |ms| Netem::delay(Duration::from_millis(ms));
            let class = |applied: chaos::kernel::netlink::qdisc::Applied| applied.place.parent;
            let a = class(tree.add(tc, &delay(1)).unwrap());
            let b = class(tree.add(tc, &delay(2)).unwrap());
            assert_eq!(class(tree.add(tc, &delay(1)).unwrap()), a);
            assert_ne!(a, b);
            tree.change(tc, b, &delay(3)).unwrap();
            tree.remove(tc, a).unwrap();
            assert_eq!(tree.settings().count(), 2, "{steering}: one user is left");
            tree.remove(tc, a).unwrap();
            assert_eq!(tree.settings().map(|(class, _)| class).collect::<Vec<_>>(), [b]);
            assert!(matches!(tree.remove(tc, a), Err(TreeError::NoSuchClass(_))));
            for ms in 0..14 {
                tree.add(tc, &delay(100 + ms)).unwrap();
            }
            if steering == Steering::Prio {
                let full = tree.add(tc, &delay(999)).unwrap_err();
                assert!(matches!(full, TreeError::Full { .. }), "{full}");
            }
            tree.uninstall(tc).unwrap();
        }
    });
}

#[test]
fn each_packet_is_held_as_its_class_says() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("each_packet_is_held_as_its_class_says", "sch_netem");
        }
        for steering in steerings(tc) {
            let mut tree = DetourTree::install(tc, LOOPBACK, Some(steering)).unwrap();
            let settings = [10, 60, 200].map(Duration::from_millis);
            let pipes: Vec<(Duration, Pipe)> = settings
                .iter()
                .map(|latency| {
                    let applied = tree.add(tc, &Netem::delay(*latency)).unwrap();
                    (*latency, Pipe::new(applied.place.parent.to_u32()))
                })
                .chain([(Duration::ZERO, Pipe::new(0))])
                .collect();
            // At the same time: no class waits for another.
            std::thread::scope(|scope| {
                for (latency, pipe) in &pipes {
                    scope.spawn(move || {
                        let mut times = pipe.latencies(20, Duration::from_millis(5));
                        times.sort();
                        assert_eq!(times.len(), 20);
                        // The least: a guest that is held up by its host adds to the others.
                        let (least, bound) = (times[0], *latency + Duration::from_millis(10));
                        println!("{steering}: {latency:?}: {least:?}");
                        assert!((*latency..bound).contains(&least), "{latency:?}: {times:?}");
                    });
                }
            });
            tree.uninstall(tc).unwrap();
        }
    });
}
