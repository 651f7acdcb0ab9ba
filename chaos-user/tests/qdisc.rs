//! Qdiscs in network namespaces of their own. Needs root.
//!
//! What a kernel has no module for prints `CHAOS-SKIP <test> <feature>`; the runner knows which
//! skips to expect on which kernel.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

#[path = "qdisc/behaviour.rs"]
mod behaviour;
#[path = "qdisc/netem.rs"]
mod netem;
#[path = "qdisc/restore.rs"]
mod restore;
#[path = "qdisc/root_netem.rs"]
mod root_netem;
#[path = "qdisc/support.rs"]
mod support;
#[path = "qdisc/tree.rs"]
mod tree;
#[path = "qdisc/udp.rs"]
mod udp;

use chaos::kernel::netlink::qdisc::{
    ClassSpec, Handle, HtbClass, HtbQdisc, Netem, PeakRate, Place, Prio, QdiscSpec, Tbf, TcSocket,
};
use nix::errno::Errno;
use support::{Bench, has, skip};

const TBF: Tbf = Tbf { bytes_per_second: 125_000_000, burst: 65_536, limit: 1 << 20, peak: None };

#[test]
fn tbf_is_added_replaced_changed_and_deleted() {
    Bench::run(|tc, device| {
        let place = Place::root(device, Handle::qdisc(1));
        let applied = tc.add(place, &QdiscSpec::Tbf(TBF)).unwrap();
        assert_eq!((applied.place, applied.unconfirmed.len()), (place, 0));

        let again = tc.add(place, &QdiscSpec::Tbf(TBF)).unwrap_err();
        assert_eq!(again.errno(), Some(Errno::EEXIST), "{again}");

        let peak = Some(PeakRate { bytes_per_second: 6_000_000_000, burst: 65_536 });
        for tbf in [
            Tbf { bytes_per_second: 5_000_000_000, burst: 1 << 20, ..TBF },
            Tbf { peak, ..TBF },
            Tbf { burst: 9000, limit: 9001, ..TBF },
        ] {
            tc.change(place, &QdiscSpec::Tbf(tbf)).unwrap();
            tc.replace(place, &QdiscSpec::Tbf(tbf)).unwrap();
        }
        let other = Place::root(device, Handle::qdisc(2));
        tc.replace(other, &QdiscSpec::Tbf(TBF)).unwrap();
        let handles: Vec<Handle> = tc.qdiscs(device).unwrap().iter().map(|q| q.handle).collect();
        assert_eq!(handles, [Handle::qdisc(2)]);

        let gone = tc.change(place, &QdiscSpec::Tbf(TBF)).unwrap_err();
        assert!(gone.errno().is_some(), "{gone}");
        tc.delete(other).unwrap();
        assert_eq!(tc.qdiscs(device).unwrap()[0].kind, "noqueue");
    });
}

#[test]
fn the_kernel_chooses_a_handle() {
    Bench::run(|tc, device| {
        let applied = tc.add(Place::root(device, Handle::UNSPEC), &QdiscSpec::Tbf(TBF)).unwrap();
        assert!(applied.place.handle.major() >= 0x8000, "{:?}", applied.place);
    });
}

#[test]
fn htb_has_classes_and_leaves() {
    Bench::run(|tc, device| {
        let root = Handle::qdisc(1);
        let htb = HtbQdisc { default_class: 0x20, direct_queue: Some(77) };
        tc.add(Place::root(device, root), &QdiscSpec::Htb(htb)).unwrap();
        let class = HtbClass {
            rate: 12_500_000,
            ceil: 6_250_000_000,
            burst: 65_536,
            ceil_burst: 1 << 20,
            quantum: 60_000,
            priority: 3,
        };
        let place = |parent, minor| Place { device, parent, handle: Handle::new(1, minor) };
        tc.add_class(place(root, 0x10), &ClassSpec::Htb(HtbClass::unlimited())).unwrap();
        tc.add_class(place(Handle::new(1, 0x10), 0x20), &ClassSpec::Htb(class)).unwrap();
        let slower = HtbClass { rate: 1_250_000, ..class };
        tc.change_class(place(Handle::new(1, 0x10), 0x20), &ClassSpec::Htb(slower)).unwrap();
        let leaf = Place { device, parent: Handle::new(1, 0x20), handle: Handle::qdisc(0x20) };
        tc.add(leaf, &QdiscSpec::Tbf(TBF)).unwrap();
        assert_eq!(tc.classes(device).unwrap().iter().filter(|c| c.kind == "htb").count(), 2);
        tc.delete_class(place(Handle::new(1, 0x10), 0x20)).unwrap();
        assert_eq!(tc.qdiscs(device).unwrap().len(), 1, "the leaf goes with its class");
    });
}

#[test]
fn clsact_stands_beside_the_root() {
    Bench::run(|tc, device| {
        let place = Place::clsact(device);
        assert_eq!(tc.add(place, &QdiscSpec::Clsact).unwrap().place, place);
        let kinds: Vec<String> =
            tc.qdiscs(device).unwrap().into_iter().map(|qdisc| qdisc.kind).collect();
        assert!(kinds.contains(&"clsact".to_owned()), "{kinds:?}");
        let again = tc.add(place, &QdiscSpec::Clsact).unwrap_err();
        assert_eq!(again.errno(), Some(Errno::EEXIST), "{again}");
        tc.delete(place).unwrap();
    });
}

#[test]
fn prio_has_bands() {
    Bench::run(|tc, device| {
        if !has(tc, "prio") {
            return skip("prio_has_bands", "prio");
        }
        let place = Place::root(device, Handle::qdisc(1));
        let prio = Prio { bands: 4, priomap: [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1] };
        tc.add(place, &QdiscSpec::Prio(prio)).unwrap();
        tc.change(place, &QdiscSpec::Prio(Prio::with_default_band(16))).unwrap();
        let leaf = Place { device, parent: Handle::new(1, 16), handle: Handle::qdisc(0x16) };
        tc.add(leaf, &QdiscSpec::Tbf(TBF)).unwrap();
    });
}

#[test]
fn netem_is_there_or_named_as_missing() {
    Bench::run(|tc, device| {
        let netem = Netem::default().into();
        let added = tc.add(Place::root(device, Handle::qdisc(1)), &netem);
        let Err(error) = added else {
            assert_eq!(tc.qdiscs(device).unwrap()[0].kind, "netem");
            return;
        };
        assert!(error.is_unsupported(), "{error:?}");
        assert!(error.to_string().starts_with("this kernel has no sch_netem"), "{error}");
        assert_eq!(tc.qdiscs(device).unwrap()[0].kind, "noqueue", "nothing half-applied");
    });
}

#[test]
fn a_device_that_is_gone_is_an_error() {
    Bench::run(|tc: &mut TcSocket, _| {
        let place = Place::root(4711, Handle::qdisc(1));
        let error = tc.add(place, &QdiscSpec::Tbf(TBF)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENODEV), "{error}");
        assert!(error.to_string().contains("tbf 1: at root of device #4711"), "{error}");
    });
}
