//! Every program passes this kernel's verifier and attaches the way this kernel offers. Needs
//! root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::fs;
use std::path::PathBuf;

use chaos::kernel::bpf::{
    Attached, BpfError, CgroupProgram, Device, Mechanism, Object, Sizes, TcProgram,
};
use chaos::kernel::netns::NetNs;
use chaos_common::Hook;

const SIZES: Sizes = Sizes { rules: 16, entries: 32, delays: 1, queues: 0 };

fn loopback() -> Device {
    Device { index: 1, name: "lo".into(), ethernet: true }
}

/// Attaches both directions to a fresh namespace's loopback and says by which mechanism.
fn attach_both(mechanism: Mechanism) -> Result<Vec<String>, BpfError> {
    NetNs::anonymous()
        .unwrap()
        .run(|| {
            let mut object = Object::load(SIZES)?;
            let device = loopback();
            let attached: Vec<Attached> = [Hook::Egress, Hook::Ingress]
                .into_iter()
                .map(|hook| {
                    let program = TcProgram::of(&device, hook).unwrap();
                    object.attach_tc(&device, program, mechanism)
                })
                .collect::<Result<_, _>>()?;
            let used = attached.iter().map(|attached| attached.point.mechanism.clone()).collect();
            attached.into_iter().try_for_each(|attached| object.detach(attached))?;
            Ok(used)
        })
        .unwrap()
}

/// Major and minor of the running kernel.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn every_classifier_passes_the_verifier() {
    let mut object = Object::load(SIZES).unwrap();
    for name in ["chaos_egress", "chaos_egress_l3", "chaos_ingress", "chaos_ingress_l3"] {
        object.classifier(name).unwrap();
    }
    object.cgroup_classifier().unwrap();
}

#[test]
fn the_newest_mechanism_of_this_kernel_is_taken() {
    let expected = if kernel() >= (6, 6) { "tcx" } else { "clsact" };
    assert_eq!(attach_both(Mechanism::Auto).unwrap(), [expected; 2]);
}

#[test]
fn clsact_works_on_every_kernel() {
    assert_eq!(attach_both(Mechanism::Clsact).unwrap(), ["clsact"; 2]);
}

#[test]
fn tcx_is_a_clear_error_where_it_is_missing() {
    let attached = attach_both(Mechanism::Tcx);
    if kernel() >= (6, 6) {
        assert_eq!(attached.unwrap(), ["tcx"; 2]);
    } else {
        assert!(matches!(attached, Err(BpfError::Attach { .. })), "{attached:?}");
    }
}

/// A cgroup of its own, gone afterwards.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|words| words[2] == "cgroup2")
            .map(|words| PathBuf::from(words[1]))
            .unwrap();
        let path = root.join(format!("chaos-smoke-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn every_cgroup_program_attaches() {
    let cgroup = Cgroup::new();
    let mut object = Object::load(SIZES).unwrap();
    let programs = CgroupProgram::CALLS.into_iter().chain([CgroupProgram::Ingress]);
    let attached: Vec<_> =
        programs.map(|program| object.attach_cgroup(&cgroup.0, program).unwrap()).collect();
    for attached in attached {
        object.detach(attached).unwrap();
    }
}
