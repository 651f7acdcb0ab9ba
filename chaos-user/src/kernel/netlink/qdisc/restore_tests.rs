use super::super::snapshot::tests::{class, qdisc, snapshot};
use super::*;

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
