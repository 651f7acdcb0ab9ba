//! What was there comes back, byte for byte.

use chaos::kernel::netlink::qdisc::{
    ClassSpec, Handle, HtbClass, HtbQdisc, NotRestorable, Place, QdiscSpec, Restore, RootQdisc,
    TcSocket,
};
use netlink_packet_route::tc::{TcFilterU32Option, TcHandle, TcU32Key, TcU32Selector};

use crate::TBF;
use crate::support::{Bench, LOOPBACK};

/// htb 1: with the classes 1:1 (1:2, 1:3) and a tbf below 1:3.
pub(crate) fn build_htb(tc: &mut TcSocket, device: u32) {
    let root = Handle::qdisc(1);
    let htb = HtbQdisc { default_class: 2, direct_queue: None };
    tc.add(Place::root(device, root), &QdiscSpec::Htb(htb)).unwrap();
    let class = HtbClass {
        rate: 12_500_000,
        ceil: 125_000_000,
        burst: 15_000,
        ceil_burst: 15_000,
        quantum: 20_000,
        priority: 1,
    };
    for (parent, minor) in [(root, 1), (Handle::new(1, 1), 3), (Handle::new(1, 1), 2)] {
        let place = Place { device, parent, handle: Handle::new(1, minor) };
        tc.add_class(place, &ClassSpec::Htb(class)).unwrap();
    }
    let leaf = Place { device, parent: Handle::new(1, 3), handle: Handle::qdisc(0x30) };
    tc.add(leaf, &QdiscSpec::Tbf(TBF)).unwrap();
}

/// Puts a qdisc of ours over what is there and takes it away again.
fn disturb_and_restore(tc: &mut TcSocket, device: u32, how: Restore) {
    let before = RootQdisc::snapshot(tc, device).unwrap();
    assert_eq!(before.restorable(), Ok(how));
    let stored = serde_json::to_string(&before).unwrap();
    let ours = Place::root(device, before.free_handle());
    tc.replace(ours, &QdiscSpec::Tbf(TBF)).unwrap();
    assert_ne!(RootQdisc::snapshot(tc, device).unwrap(), before);
    // As the journal of another process would give it back.
    let stored: RootQdisc = serde_json::from_str(&stored).unwrap();
    stored.restore(tc).unwrap();
    assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    stored.restore(tc).expect("putting back what is back already is no error");
}

#[test]
fn the_default_of_a_veth_and_of_the_loopback_come_back() {
    Bench::run(|tc, device| {
        for device in [device, LOOPBACK] {
            let before = RootQdisc::snapshot(tc, device).unwrap();
            assert_eq!(before.root().unwrap().kind, "noqueue");
            disturb_and_restore(tc, device, Restore::ByDeleting);
        }
    });
}

#[test]
fn clsact_stays_while_the_root_comes_and_goes() {
    Bench::run(|tc, device| {
        tc.add(Place::clsact(device), &QdiscSpec::Clsact).unwrap();
        disturb_and_restore(tc, device, Restore::ByDeleting);
        assert!(tc.qdiscs(device).unwrap().iter().any(|qdisc| qdisc.kind == "clsact"));
    });
}

#[test]
fn a_tbf_comes_back() {
    Bench::run(|tc, device| {
        tc.add(Place::root(device, Handle::qdisc(0x8001)), &QdiscSpec::Tbf(TBF)).unwrap();
        disturb_and_restore(tc, device, Restore::ByAdding);
    });
}

#[test]
fn a_tree_of_htb_comes_back() {
    Bench::run(|tc, device| {
        build_htb(tc, device);
        disturb_and_restore(tc, device, Restore::ByAdding);
    });
}

#[test]
fn a_half_restored_tree_is_restored_in_full() {
    Bench::run(|tc, device| {
        build_htb(tc, device);
        let before = RootQdisc::snapshot(tc, device).unwrap();
        // Same handle, wrong content: an earlier attempt that broke off.
        let class = Place { device, parent: Handle::new(1, 1), handle: Handle::new(1, 2) };
        tc.delete_class(class).unwrap();
        before.restore(tc).unwrap();
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn filters_below_the_root_are_refused() {
    Bench::run(|tc, device| {
        build_htb(tc, device);
        add_u32_filter(device);
        let root = RootQdisc::snapshot(tc, device).unwrap();
        match root.restorable() {
            Err(NotRestorable::Filters { count, handle }) => {
                assert!(count > 0);
                assert_eq!(handle, Handle::qdisc(1));
            }
            other => panic!("{other:?}"),
        }
    });
}

/// `tc filter add dev … parent 1: protocol all prio 1 u32 match u32 0 0 flowid 1:2`
pub(crate) fn add_u32_filter(device: u32) {
    const ALL_PROTOCOLS: u16 = 0x0003;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let mut selector = TcU32Selector::default();
        selector.nkeys = 1;
        selector.keys = vec![TcU32Key::default()];
        let class = TcHandle { major: 1, minor: 2 };
        handle
            .traffic_filter(device.cast_signed())
            .add()
            .parent(0x0001_0000)
            .priority(1)
            .protocol(ALL_PROTOCOLS.to_be())
            .u32(&[TcFilterU32Option::Selector(selector), TcFilterU32Option::ClassId(class)])
            .unwrap()
            .execute()
            .await
            .unwrap();
        connection.abort();
    });
}
