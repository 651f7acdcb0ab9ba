//! The file systems of a booted system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};
use chaos_suite::Record;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::port::ReportPort;

/// Type and mount point, in order; `/dev` is mounted before.
const MOUNTS: [(&str, &str); 9] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("securityfs", "/sys/kernel/security"),
    ("tracefs", "/sys/kernel/tracing"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
];

/// The cgroup controllers that limits on services need.
const CONTROLLERS: &str = "+cpu +memory +pids +io";

/// Mounts the device nodes, unless the kernel already did.
pub(crate) fn mount_devices() -> Result<()> {
    match mount_one("devtmpfs", "/dev") {
        Err(error) if error.downcast_ref() == Some(&Errno::EBUSY) => Ok(()),
        other => other,
    }
}

/// Mounts the rest and makes what tools expect to find; what cannot be mounted is reported.
pub(crate) fn mount_all(report: &mut ReportPort) {
    for (kind, target) in MOUNTS {
        if kind == "tmpfs" && !is_empty(target) {
            // The project is somewhere below it, and must not be hidden.
            continue;
        }
        if let Err(error) = mount_one(kind, target) {
            report.send(&Record::Problem { what: format!("{error:#}") });
        }
    }
    let prepared = [
        symlink("/proc/self/fd", "/dev/fd"),
        symlink("/proc/self/mounts", "/etc/mtab"),
        fs::create_dir_all("/run/netns"),
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", CONTROLLERS),
        fs::write("/proc/sys/net/core/bpf_jit_enable", "1"),
    ];
    for error in prepared.into_iter().filter_map(Result::err) {
        println!("guest: while preparing the file systems: {error}");
    }
}

fn is_empty(folder: &str) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn mount_one(kind: &str, target: &str) -> Result<()> {
    if !Path::new(target).is_dir() {
        fs::create_dir_all(target).with_context(|| format!("cannot create {target}"))?;
    }
    mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {kind} on {target}"))
}
