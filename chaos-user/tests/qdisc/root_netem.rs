//! netem for a whole device, and what was there afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos::fault::{
    Journal, Live, Record, RootNetem, RootNetemError, RootNetemHealed, RootNetemRecord,
    RootNetemUndo, heal_runs,
};
use chaos::kernel::netlink::qdisc::{
    Distribution, Handle, Loss, Netem, Place, Probability, QdiscSpec, Restore, RootQdisc,
};
use chaos::kernel::netns::NetNs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::TBF;
use crate::restore::{add_u32_filter, build_htb};
use crate::support::{Bench, LOOPBACK, has, skip};
use crate::udp::Pipe;

fn delay() -> Netem {
    Netem::delay(Duration::from_millis(50))
}

#[test]
fn a_tbf_is_as_before_with_netem_or_without() {
    Bench::run(|tc, device| {
        let netem = has(tc, "netem");
        tc.add(Place::root(device, Handle::qdisc(1)), &QdiscSpec::Tbf(TBF)).unwrap();
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let plan = RootNetem::plan(tc, device, delay(), false).unwrap();
        assert_eq!(plan.restore(), Some(Restore::ByAdding));
        match plan.apply(tc) {
            Ok(active) if netem => {
                assert_eq!(active.heal(tc).unwrap(), RootNetemHealed::AsBefore);
            }
            Err(RootNetemError::Qdisc(error)) if !netem => {
                assert!(error.is_unsupported(), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn what_cannot_be_put_back_is_refused() {
    Bench::run(|tc, device| {
        build_htb(tc, device);
        add_u32_filter(device);
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let error = RootNetem::plan(tc, device, delay(), false).unwrap_err();
        assert!(matches!(error, RootNetemError::NotRestorable { .. }), "{error}");
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
        let forced = RootNetem::plan(tc, device, delay(), true).unwrap();
        assert_eq!(forced.restore(), None);
        assert!(forced.notes()[0].contains("LOST"), "{:?}", forced.notes());
        if !has(tc, "netem") {
            return skip("what_cannot_be_put_back_is_refused/forced", "netem");
        }
        match forced.apply(tc).unwrap().heal(tc).unwrap() {
            RootNetemHealed::AsFarAsPossible { difference } => {
                assert!(difference.contains("filters"), "{difference}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn absurd_settings_and_devices_are_refused_before_anything_is_touched() {
    Bench::run(|tc, device| {
        let error = RootNetem::plan(tc, 4711, delay(), false).unwrap_err();
        assert!(matches!(error, RootNetemError::NoDevice { .. }), "{error}");
        let mut netem = delay();
        netem.limit = 0;
        let error = RootNetem::plan(tc, device, netem, false).unwrap_err();
        assert!(matches!(error, RootNetemError::Invalid(_)), "{error}");
    });
}

#[test]
fn the_loopback_is_slow_and_then_as_before() {
    Bench::run(|tc, _| {
        if !has(tc, "netem") {
            return skip("the_loopback_is_slow_and_then_as_before", "netem");
        }
        let before = RootQdisc::snapshot(tc, LOOPBACK).unwrap();
        let plan = RootNetem::plan(tc, LOOPBACK, delay(), false).unwrap();
        let mut active = plan.apply(tc).unwrap();
        let pipe = Pipe::new(0);
        let pace = Duration::from_millis(1);
        let fastest = |pipe: &Pipe| pipe.latencies(10, pace).into_iter().min().unwrap();
        assert!(fastest(&pipe) >= Duration::from_millis(50));
        // A ramp, with a table on the way that must not survive.
        let mut netem = Netem::delay(Duration::from_millis(150));
        netem.jitter = Duration::from_millis(10);
        netem.distribution = Distribution::Pareto;
        active.change(tc, netem).unwrap();
        assert_eq!(active.unconfirmed().len(), 1, "the table");
        active.change(tc, Netem::delay(Duration::from_millis(100))).unwrap();
        assert!(fastest(&pipe) >= Duration::from_millis(100));
        let counters = active.counters(tc).unwrap().unwrap();
        assert!(counters.packets >= 20, "{counters:?}");

        let error = RootNetem::plan(tc, LOOPBACK, delay(), true).unwrap_err();
        assert!(matches!(error, RootNetemError::Occupied { .. }), "{error}");

        assert_eq!(active.heal(tc).unwrap(), RootNetemHealed::AsBefore);
        assert_eq!(RootQdisc::snapshot(tc, LOOPBACK).unwrap(), before);
        assert!(fastest(&pipe) < Duration::from_millis(50));
    });
}

#[test]
fn a_later_process_puts_back_what_was_there() {
    Bench::run(|tc, device| {
        if !has(tc, "netem") {
            return skip("a_later_process_puts_back_what_was_there", "netem");
        }
        build_htb(tc, device);
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let mut netem = delay();
        netem.loss = Loss::random(Probability::from_percent(1.0).unwrap());
        let plan = RootNetem::plan(tc, device, netem, false).unwrap();
        let journal = serde_json::to_string(plan.undo()).unwrap();
        // The process dies here: its journal is all that is left.
        let _ = plan.apply(tc).unwrap();
        let undo: RootNetemUndo = serde_json::from_str(&journal).unwrap();
        assert_eq!(undo.heal(tc).unwrap(), RootNetemHealed::AsBefore);
        assert_eq!(undo.heal(tc).unwrap(), RootNetemHealed::AsBefore, "twice is no harm");
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn what_somebody_else_put_there_meanwhile_is_left_alone() {
    Bench::run(|tc, device| {
        if !has(tc, "netem") {
            return skip("what_somebody_else_put_there_meanwhile_is_left_alone", "netem");
        }
        let active = RootNetem::plan(tc, device, delay(), false).unwrap().apply(tc).unwrap();
        tc.replace(Place::root(device, Handle::qdisc(0x77)), &QdiscSpec::Tbf(TBF)).unwrap();
        let theirs = RootQdisc::snapshot(tc, device).unwrap();
        let error = active.heal(tc).unwrap_err();
        assert!(matches!(error, RootNetemError::Replaced { .. }), "{error}");
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), theirs);
    });
}

#[test]
fn a_netem_of_somebody_else_is_replaced_and_comes_back() {
    Bench::run(|tc, device| {
        if !has(tc, "netem") {
            return skip("a_netem_of_somebody_else_is_replaced_and_comes_back", "netem");
        }
        let mut theirs = delay();
        // Kernels that refuse a duplicating neighbour refuse it next to ours, too.
        theirs.duplicate = Probability::from_percent(1.0).unwrap().into();
        tc.add(Place::root(device, Handle::qdisc(0x8001)), &theirs.into()).unwrap();
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let active = RootNetem::plan(tc, device, delay(), false).unwrap().apply(tc).unwrap();
        assert_eq!(active.heal(tc).unwrap(), RootNetemHealed::AsBefore);
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
    });
}

#[test]
fn a_device_that_is_gone_needs_no_healing() {
    Bench::run(|tc, device| {
        let plan = RootNetem::plan(tc, device, delay(), false).unwrap();
        let mut undo = plan.undo().clone();
        undo.device = "v9".to_owned();
        assert_eq!(undo.heal(tc).unwrap(), RootNetemHealed::DeviceGone);
        undo.before.device = 4711;
        assert_eq!(undo.heal(tc).unwrap(), RootNetemHealed::DeviceGone);
    });
}

/// A name for the namespace of the calling thread, by which a later process finds it.
struct Name(PathBuf);

impl Name {
    fn of_this_thread(name: &str) -> Self {
        std::fs::create_dir_all("/run/netns").unwrap();
        let path = Path::new("/run/netns").join(name);
        std::fs::File::create(&path).unwrap();
        let name = Self(path);
        let netns = Path::new("/proc/thread-self/ns/net");
        mount(Some(netns), &name.0, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_journal_of_a_dead_run_is_enough() {
    // The state folder is chosen by the environment, so this test runs in a process of its own.
    if std::env::var_os("CHAOS_STATE_DIR").is_none() {
        let state = tempfile::tempdir().unwrap();
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "root_netem::the_journal_of_a_dead_run_is_enough"])
            .env("CHAOS_STATE_DIR", state.path())
            .output()
            .unwrap();
        assert!(again.status.success(), "{again:?}");
        return;
    }
    Bench::run(|tc, device| {
        let _name = Name::of_this_thread(&format!("chaos-root-netem-{}", std::process::id()));
        build_htb(tc, device);
        let before = RootQdisc::snapshot(tc, device).unwrap();
        let plan = RootNetem::plan(tc, device, delay(), false).unwrap();
        let journal = Journal::create("dead").unwrap();
        let netns = (&NetNs::current().unwrap()).into();
        let undo = Box::new(plan.undo().clone());
        let record = Record::RootNetem(RootNetemRecord { netns, undo });
        let _ = journal.append(record).unwrap();
        // Stands for the netem, which not every kernel has: it is known by its handle.
        let ours = Place::root(device, plan.undo().ours);
        tc.replace(ours, &QdiscSpec::Tbf(TBF)).unwrap();
        // Closing the journal without finishing it is what a crash does.
        drop(journal);
        let report = heal_runs(&[], Live::Leave).unwrap();
        assert_eq!(report.left, Vec::<String>::new());
        let undone = vec!["root netem on v0".to_owned()];
        assert_eq!(report.recovered, [("dead".to_owned(), undone)]);
        assert_eq!(RootQdisc::snapshot(tc, device).unwrap(), before);
        assert_eq!(heal_runs(&[], Live::Leave).unwrap().recovered, []);
    });
}
