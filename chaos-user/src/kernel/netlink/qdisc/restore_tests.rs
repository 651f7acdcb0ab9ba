use super::super::snapshot::tests::{class, qdisc, snapshot};
use super::*;
use crate::kernel::netlink::qdisc::codec::hex;

#[test]
fn classes_are_made_from_the_top() {
    let at = |minor| Handle::new(1, minor);
    let mut root = snapshot(vec![qdisc("htb", 1, Handle::ROOT)]);
    root.classes = vec![
        class(at(1), at(3)),
        class(at(2), at(1)),
        class(at(3), Handle::ROOT),
        class(at(9), at(8)), // an orphan
    ];
    let order: Vec<u16> =
        root.classes_from_the_top().iter().map(|class| class.handle.minor()).collect();
    assert_eq!(order, [3, 1, 2]);
}

#[test]
fn differences_are_told() {
    let before = snapshot(vec![qdisc("htb", 1, Handle::ROOT), qdisc("fq", 2, Handle::new(1, 1))]);
    let after = snapshot(vec![qdisc("tbf", 3, Handle::ROOT)]);
    assert_eq!(
        difference(&before, &after),
        "tbf 3: instead of htb 1: at root, fq 2: at 1:1 is missing"
    );
}

#[test]
fn htb_is_sent_with_the_version_of_requests() {
    let stored = hex("18000200 11000300 0a000000 10000000 00000000 00000000 08000500 e8030000");
    assert_eq!(
        repeated("htb", Some(&stored)),
        Some(hex("18000200 03000000 0a000000 10000000 00000000 00000000 08000500 e8030000"))
    );
    assert_eq!(repeated("tbf", Some(&stored)), Some(stored));
    assert_eq!(repeated("pfifo", None), None);
}
