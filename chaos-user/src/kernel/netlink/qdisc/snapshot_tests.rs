use super::*;
use crate::kernel::netlink::qdisc::codec::to_bytes;
use crate::kernel::netlink::qdisc::{Netem, Write};

pub(in super::super) fn qdisc(kind: &str, handle: u16, parent: Handle) -> StoredQdisc {
    StoredQdisc {
        kind: kind.to_owned(),
        handle: Handle::qdisc(handle),
        parent,
        options: None,
        has_size_table: false,
        offloaded: false,
    }
}

pub(in super::super) fn snapshot(qdiscs: Vec<StoredQdisc>) -> RootQdisc {
    RootQdisc {
        device: 2,
        qdiscs,
        classes: Vec::new(),
        filters: 0,
        default_kind: Some("fq_codel".to_owned()),
    }
}

pub(in super::super) fn class(handle: Handle, parent: Handle) -> StoredClass {
    StoredClass { kind: "htb".to_owned(), handle, parent, options: None }
}

#[test]
fn defaults_come_back_by_deleting() {
    for kind in ["noqueue", "fq_codel"] {
        let root = snapshot(vec![qdisc(kind, 0, Handle::ROOT)]);
        assert_eq!(root.restorable(), Ok(Restore::ByDeleting), "{kind}");
    }
    let children = (1..=4).map(|queue| qdisc("fq_codel", 0, Handle::new(0, queue)));
    let mq = std::iter::once(qdisc("mq", 0, Handle::ROOT)).chain(children).collect();
    assert_eq!(snapshot(mq).restorable(), Ok(Restore::ByDeleting));
    assert_eq!(snapshot(vec![]).restorable(), Ok(Restore::ByDeleting));
}

#[test]
fn a_default_that_would_be_another_now_is_refused() {
    let changed = |root: RootQdisc| match root.restorable() {
        Err(NotRestorable::DefaultChanged { have, default }) => (have, default),
        other => panic!("{other:?}"),
    };
    let want = ("pfifo_fast".to_owned(), "fq_codel".to_owned());
    assert_eq!(changed(snapshot(vec![qdisc("pfifo_fast", 0, Handle::ROOT)])), want);
    let mq = vec![qdisc("mq", 0, Handle::ROOT), qdisc("pfifo_fast", 0, Handle::new(0, 1))];
    assert_eq!(changed(snapshot(mq)), want);
}

#[test]
fn what_a_dump_does_not_tell_is_refused() {
    let root = |change: &dyn Fn(&mut StoredQdisc)| {
        let mut root = qdisc("htb", 1, Handle::ROOT);
        change(&mut root);
        snapshot(vec![root]).restorable().unwrap_err()
    };
    let netem = |netem: Netem| {
        let bytes = to_bytes(&netem.to_wire(Write::Fresh).unwrap());
        root(&move |root| {
            root.kind = "netem".to_owned();
            root.options = Some(bytes.clone());
        })
    };
    let handle = Handle::qdisc(1);
    assert_eq!(
        root(&|root| root.kind = "cake".to_owned()),
        NotRestorable::Kind { kind: "cake".to_owned(), handle }
    );
    assert!(matches!(root(&|root| root.has_size_table = true), NotRestorable::SizeTable { .. }));
    assert!(matches!(root(&|root| root.offloaded = true), NotRestorable::Offloaded { .. }));
    let jitter = std::time::Duration::from_millis(1);
    assert_eq!(netem(Netem { jitter, ..Netem::default() }), NotRestorable::UnknownTable { handle });
    let filtered = RootQdisc { filters: 2, ..snapshot(vec![qdisc("htb", 1, Handle::ROOT)]) };
    assert_eq!(filtered.restorable(), Err(NotRestorable::Filters { count: 2, handle }));
}

#[test]
fn a_snapshot_can_be_stored() {
    let mut root = snapshot(vec![qdisc("htb", 0x8001, Handle::ROOT)]);
    root.qdiscs[0].options = Some(vec![1, 2, 3]);
    root.classes = vec![class(Handle::new(0x8001, 0x2a), Handle::ROOT)];
    let json = serde_json::to_string(&root).unwrap();
    assert!(json.contains(r#""handle":"8001:""#) && json.contains(r#""8001:2a""#), "{json}");
    assert_eq!(serde_json::from_str::<RootQdisc>(&json).unwrap(), root);
}

#[test]
fn our_handle_is_free() {
    let root = snapshot(vec![
        qdisc("htb", 0xc4a0, Handle::ROOT),
        qdisc("fq", 0xc4a1, Handle::new(0xc4a0, 1)),
    ]);
    assert_eq!(root.free_handle(), Handle::qdisc(0xc4a2));
}
