//! Many settings on one device, steered by class.

use std::time::Duration;

use chaos::kernel::netlink::qdisc::{
    DetourTree, Handle, Netem, Place, QdiscSpec, RootQdisc, Steering, TreeError,
};

use crate::TBF;
use crate::support::{Bench, LOOPBACK, has, skip};
use crate::udp::{ATTEMPTS, Pipe};

fn steerings(tc: &mut chaos::kernel::netlink::qdisc::TcSocket) -> Vec<Steering> {
    if has(tc, "prio") { vec![Steering::Htb, Steering::Prio] } else { vec![Steering::Htb] }
}

#[test]
fn nothing_stays_behind_with_netem_or_without() {
    Bench::run(|tc, device| {
        let netem = has(tc, "netem");
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let mut tree = DetourTree::install(tc, device, None).unwrap();
        match tree.add(tc, &Netem::default()) {
            Ok(_) => assert!(netem),
            Err(error) => {
                assert!(!netem, "{error}");
                assert!(
                    matches!(&error, TreeError::Qdisc(error) if error.is_unsupported()),
                    "{error}"
                );
                let classes = tc.classes(device).unwrap();
                assert!(classes.iter().all(|class| class.kind != "htb"), "{classes:?}");
            }
        }
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
            return skip("equal_settings_share_a_leaf_and_the_rest_have_their_own", "netem");
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
            return skip("each_packet_is_held_as_its_class_says", "netem");
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
            let timely = (0..ATTEMPTS).any(|_| {
                let least: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
                    let measure = |(latency, pipe): &(Duration, Pipe)| {
                        let times = pipe.latencies(20, Duration::from_millis(5));
                        assert_eq!(times.len(), 20, "{steering}: {latency:?}");
                        (*latency, times.into_iter().min().unwrap())
                    };
                    let running: Vec<_> =
                        pipes.iter().map(|pipe| scope.spawn(move || measure(pipe))).collect();
                    running.into_iter().map(|thread| thread.join().unwrap()).collect()
                });
                println!("{steering}: {least:?}");
                assert!(least.iter().all(|(latency, least)| least >= latency));
                let bound = Duration::from_millis(10);
                least.iter().all(|(latency, least)| *least < *latency + bound)
            });
            assert!(timely, "{steering}");
            tree.uninstall(tc).unwrap();
        }
    });
}
