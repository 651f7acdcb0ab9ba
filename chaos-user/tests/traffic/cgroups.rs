//! Faults for the sockets of one cgroup.

use std::fs;
use std::path::PathBuf;

use chaos::experiment::units::Direction;
use chaos::fault::Session;
use chaos::host::Cgroups;
use chaos::plan::{Action, Loss, Protect, Selector};

use crate::net::{FAMILIES, datagrams, received};
use crate::roles::Helper;
use crate::support::{Pair, isolated};

/// A cgroup that is removed when dropped; its processes must have ended by then.
struct Group(PathBuf);

impl Group {
    fn new(cgroups: &Cgroups, name: &str) -> Self {
        let path = cgroups.root().join(format!("chaos-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn add(&self, helper: &Helper) {
        fs::write(self.0.join("cgroup.procs"), helper.pid().to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("below"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn only_sockets_of_the_cgroup_are_hit() {
    const NAME: &str = "cgroups::only_sockets_of_the_cgroup_are_hit";
    isolated(NAME, || {
        let Ok(cgroups) = Cgroups::find() else {
            println!("CHAOS-SKIP {NAME} cgroup2");
            return;
        };
        let pair = Pair::new();
        let group = Group::new(&cgroups, "it");
        let mut inside = Helper::start("sender", &pair.near);
        let mut outside = Helper::start("sender", &pair.near);
        group.add(&inside);
        for (far, near) in FAMILIES {
            let there = pair.far_socket(far);
            let to = there.local_addr().unwrap();
            let addresses =
                [&mut inside, &mut outside].map(|helper| helper.ask(&format!("bind {near}")));
            let cgroup = Some(cgroups.by_path(group.0.to_str().unwrap()).unwrap());
            for (direction, sent, arrived) in [
                (Some(Direction::Both), 0, 0),
                (Some(Direction::To), 0, 100),
                (Some(Direction::From), 100, 0),
                (None, 100, 100),
            ] {
                let active = direction.map(|direction| {
                    let selector =
                        Selector { direction, cgroup: cgroup.clone(), ..Selector::default() };
                    let fault = pair.fault(selector, Action::Drop(Loss::Always));
                    Session::start("cgroup", &[fault]).unwrap()
                });
                for (helper, address, sent, arrived) in [
                    (&mut inside, &addresses[0], sent, arrived),
                    (&mut outside, &addresses[1], 100, 100),
                ] {
                    helper.ask(&format!("send {to} 100"));
                    assert_eq!(received(&there, 100), sent, "{direction:?} of {address}");
                    for _ in 0..100 {
                        there.send_to(b"to a helper", address).unwrap();
                    }
                    let answer = helper.ask("receive 100");
                    assert_eq!(answer, arrived.to_string(), "{direction:?} of {address}");
                }
                assert_eq!(datagrams(&pair.near_socket(near), &there, 50), 50);
                if let Some(active) = active {
                    let acted = active.heal().unwrap()[0].acted;
                    assert_eq!(acted, (100 - sent + 100 - arrived) as u64, "{direction:?}");
                }
            }
        }
        drop((inside, outside));
    });
}

#[test]
fn a_cgroup_includes_those_below_it() {
    const NAME: &str = "cgroups::a_cgroup_includes_those_below_it";
    isolated(NAME, || {
        let Ok(cgroups) = Cgroups::find() else {
            println!("CHAOS-SKIP {NAME} cgroup2");
            return;
        };
        let pair = Pair::new();
        let group = Group::new(&cgroups, "above");
        let below = group.0.join("below");
        fs::create_dir(&below).unwrap();
        let mut helper = Helper::start("sender", &pair.near);
        fs::write(below.join("cgroup.procs"), helper.pid().to_string()).unwrap();
        let (far, near) = FAMILIES[0];
        let there = pair.far_socket(far);
        helper.ask(&format!("bind {near}"));
        let cgroup = Some(cgroups.by_path(group.0.to_str().unwrap()).unwrap());
        let selector = Selector { cgroup, ..Selector::default() };
        let fault = pair.fault(selector, Action::Drop(Loss::Always));
        let active = Session::start("cgroup", &[fault]).unwrap();
        helper.ask(&format!("send {} 50", there.local_addr().unwrap()));
        assert_eq!(received(&there, 50), 0);
        assert_eq!(active.heal().unwrap()[0].acted, 50);
        drop(helper);
    });
}

#[test]
fn protected_flows_of_a_cgroup_arrive() {
    const NAME: &str = "cgroups::protected_flows_of_a_cgroup_arrive";
    isolated(NAME, || {
        let Ok(cgroups) = Cgroups::find() else {
            println!("CHAOS-SKIP {NAME} cgroup2");
            return;
        };
        let pair = Pair::new();
        let group = Group::new(&cgroups, "protected");
        let mut inside = Helper::start("sender", &pair.near);
        group.add(&inside);
        let (far, near) = FAMILIES[0];
        let (spared, hit) = (pair.far_socket(far), pair.far_socket(far));
        let address = inside.ask(&format!("bind {near}"));
        let cgroup = Some(cgroups.by_path(group.0.to_str().unwrap()).unwrap());
        let selector = Selector { direction: Direction::From, cgroup, ..Selector::default() };
        let mut fault = pair.fault(selector, Action::Drop(Loss::Always));
        let port = spared.local_addr().unwrap().port();
        let protect: Protect = format!("remote-port={port},proto=udp").parse().unwrap();
        fault.rules.extend(protect.rules().iter().cloned());
        let active = Session::start("cgroup", &[fault]).unwrap();
        for (socket, arrived) in [(&spared, "50"), (&hit, "0")] {
            for _ in 0..50 {
                socket.send_to(b"to a helper", &address).unwrap();
            }
            assert_eq!(inside.ask("receive 50"), arrived);
        }
        assert_eq!(active.heal().unwrap()[0].acted, 50);
    });
}
