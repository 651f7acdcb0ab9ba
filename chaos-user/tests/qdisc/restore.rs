//! What was there comes back, byte for byte.

use chaos::kernel::netlink::qdisc::{
    ClassSpec, Handle, HtbClass, HtbQdisc, NotRestorable, Place, Prio, QdiscSpec, Restore,
    RootQdisc, TcSocket,
};
use futures_util::StreamExt as _;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute};
use netlink_packet_route::tc::{
    TcAttribute, TcFilterU32Option, TcHandle, TcHeader, TcMessage, TcU32Key, TcU32Selector,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::TBF;
use crate::support::{Bench, LOOPBACK, has, skip};

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

/// Makes a qdisc with the kernel's own idea of its options.
fn add_with_defaults(device: u32, kind: &str, handle: Handle, parent: Handle) -> Result<(), i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, mut netlink, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let header = TcHeader {
            index: device.cast_signed(),
            handle: handle.into(),
            parent: parent.into(),
            ..TcHeader::default()
        };
        let message = TcMessage::from_parts(header, vec![TcAttribute::Kind(kind.to_owned())]);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewQueueDiscipline(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let mut answers = netlink.request(request).unwrap();
        let mut outcome = Ok(());
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                outcome = error.code.map_or(Ok(()), |code| Err(-code.get()));
            }
        }
        connection.abort();
        outcome
    })
}

/// Kinds that people give their devices; what this kernel lacks is announced.
const KINDS: [&str; 7] = ["pfifo", "bfifo", "pfifo_fast", "fq_codel", "fq", "sfq", "codel"];

#[test]
fn every_kind_that_counts_as_repeatable_is() {
    Bench::run(|tc, device| {
        for kind in KINDS {
            let handle = Handle::qdisc(0x8001);
            match add_with_defaults(device, kind, handle, Handle::ROOT) {
                Ok(()) => disturb_and_restore(tc, device, Restore::ByAdding),
                Err(libc::ENOENT) => {
                    skip("every_kind_that_counts_as_repeatable_is", &kind.replace('_', "-"));
                    continue;
                }
                Err(errno) => panic!("{kind}: errno {errno}"),
            }
            tc.delete(Place::root(device, handle)).unwrap();
        }
    });
}

#[test]
fn a_prio_with_leaves_comes_back() {
    Bench::run(|tc, device| {
        if !has(tc, "prio") {
            return skip("a_prio_with_leaves_comes_back", "prio");
        }
        let root = Handle::qdisc(0x10);
        let prio = Prio { bands: 4, priomap: [3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
        tc.add(Place::root(device, root), &QdiscSpec::Prio(prio)).unwrap();
        for (band, handle) in [(1, 0x11), (4, 0x14)] {
            let parent = Handle::new(0x10, band);
            let place = Place { device, parent, handle: Handle::qdisc(handle) };
            tc.add(place, &QdiscSpec::Tbf(TBF)).unwrap();
        }
        disturb_and_restore(tc, device, Restore::ByAdding);
    });
}

/// What somebody does who tunes a device with many queues.
#[test]
fn an_mq_of_somebody_with_a_leaf_comes_back() {
    Bench::run(|tc, _| {
        let Some(device) = many_queues(4) else {
            return skip("an_mq_of_somebody_with_a_leaf_comes_back", "ifb");
        };
        let mq = Handle::qdisc(0x100);
        if add_with_defaults(device, "mq", mq, Handle::ROOT) == Err(libc::ENOENT) {
            return skip("an_mq_of_somebody_with_a_leaf_comes_back", "mq");
        }
        let leaf = Place { device, parent: Handle::new(0x100, 2), handle: Handle::qdisc(0x102) };
        tc.replace(leaf, &QdiscSpec::Tbf(TBF)).unwrap();
        disturb_and_restore(tc, device, Restore::ByAdding);
    });
}

#[test]
fn the_default_of_a_device_with_many_queues_comes_back() {
    Bench::run(|tc, _| {
        let Some(device) = many_queues(4) else {
            return skip("the_default_of_a_device_with_many_queues_comes_back", "ifb");
        };
        let root = RootQdisc::snapshot(tc, device).unwrap();
        assert_eq!(root.root().unwrap().kind, "mq", "{root:?}");
        assert_eq!(root.qdiscs.len(), 5);
        disturb_and_restore(tc, device, Restore::ByDeleting);
    });
}

/// `ip link add i0 numtxqueues N type ifb`, up: a device that has a queue, unlike a veth.
fn many_queues(count: u32) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let ifb = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb)
            .name("i0".to_owned())
            .append_extra_attribute(LinkAttribute::NumTxQueues(count))
            .build();
        match handle.link().add(ifb).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::EOPNOTSUPP => {
                return None;
            }
            other => other.unwrap(),
        }
        let up = LinkUnspec::new_with_name("i0").up().build();
        handle.link().set(up).execute().await.unwrap();
        connection.abort();
        Some(nix::net::if_::if_nametoindex("i0").unwrap())
    })
}
