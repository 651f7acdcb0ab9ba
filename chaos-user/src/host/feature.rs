//! Kernel features, found by trying.

use std::path::Path;

use crate::kernel::bpf::{Device, Mechanism, Object, Sizes, TcProgram, lsm_asks};
use crate::kernel::netlink::qdisc::{Handle, Netem, Place, QdiscError, TcSocket};
use crate::kernel::netns::{NetNs, NetNsError};
use chaos_common::Hook;

use super::Cgroups;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", content = "why", rename_all = "lowercase")]
pub enum Support {
    /// It works.
    Yes,
    /// It does not, and why.
    No(String),
    /// The probe itself could not run.
    Unknown(String),
}

/// One feature of this host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// What it is for, and what happens without it.
    pub purpose: &'static str,
    /// The first kernel that has it, for the message only.
    pub since: &'static str,
    /// What was found.
    pub support: Support,
}

/// Probes everything, in a network namespace of its own. Never fails half-way.
pub fn features() -> Vec<Feature> {
    let feature = |name, purpose, since, support| Feature { name, purpose, since, support };
    vec![
        feature("programs", "drop and reject; nothing works without them", "5.17", programs()),
        feature(
            "tcx",
            "faults vanish with the process; without it clsact is used, and the lease ends them",
            "6.6",
            attach(Mechanism::Tcx),
        ),
        feature("clsact", "attaching on kernels without TCX", "4.5", attach(Mechanism::Clsact)),
        feature(
            "cgroup2",
            "--cgroup, --unit, --pid, and refusing connect(2)",
            "4.10",
            match Cgroups::find() {
                Ok(_) => Support::Yes,
                Err(error) => Support::No(error.to_string()),
            },
        ),
        feature(
            "sock_diag",
            "listing the sockets that a dry run would hit",
            "3.3",
            match crate::kernel::netlink::sockets::connected_sockets() {
                Ok(_) => Support::Yes,
                Err(error) => Support::No(error.to_string()),
            },
        ),
        feature(
            "netem",
            "whole-device netem, and delays by the kernel; without it the delay line holds packets",
            "2.6",
            match netem() {
                Ok(Ok(())) => Support::Yes,
                Ok(Err(error)) => Support::No(error.to_string()),
                Err(error) => Support::Unknown(error.to_string()),
            },
        ),
        feature(
            "bpf-lsm",
            "disk-error: filesystems that fail; disk-fill works without it",
            "5.7",
            match lsm_asks() {
                Ok(true) => Support::Yes,
                Ok(false) => Support::No(
                    "`bpf` is not among the active security modules (/sys/kernel/security/lsm)"
                        .into(),
                ),
                Err(error) => {
                    Support::No(error.to_string().lines().next().unwrap_or_default().to_owned())
                }
            },
        ),
        feature(
            "cgroup-limits",
            "cpu-pressure, memory-pressure, io-pressure",
            "4.14",
            cgroup_limits(),
        ),
        feature(
            "tun",
            "the delay line",
            "2.4",
            if Path::new("/dev/net/tun").exists() {
                Support::Yes
            } else {
                Support::No("/dev/net/tun is missing (module tun)".into())
            },
        ),
    ]
}

fn cgroup_limits() -> Support {
    match Cgroups::find() {
        Ok(cgroups) => match cgroups.without(&["cpu", "memory", "io"]).as_slice() {
            [] => Support::Yes,
            missing => Support::No(format!(
                "the cgroup v2 hierarchy at {} has no controller {} (cgroup v1 may use it)",
                cgroups.root().display(),
                missing.join(", ")
            )),
        },
        Err(error) => Support::No(error.to_string()),
    }
}

/// Tries netem on the loopback device of a namespace that nobody else sees; the inner error is the
/// kernel's answer. A kernel that has it as a module loads it.
pub fn netem() -> Result<Result<(), QdiscError>, NetNsError> {
    const LOOPBACK: u32 = 1;
    NetNs::anonymous()?.run(|| {
        let place = Place::root(LOOPBACK, Handle::qdisc(1));
        TcSocket::open()?.add(place, &Netem::default().into()).map(drop)
    })
}

fn programs() -> Support {
    let mut object = match Object::load(Sizes { rules: 16, entries: 32, delays: 1, queues: 0 }) {
        Ok(object) => object,
        Err(error) => return Support::No(error.to_string()),
    };
    for name in object.program_names() {
        if let Err(error) = object.load_program(&name) {
            let text = error.to_string();
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            return Support::No(format!("{name}: {}", last.unwrap_or_default()));
        }
    }
    Support::Yes
}

/// Tries on the loopback device of a namespace that nobody else sees.
fn attach(mechanism: Mechanism) -> Support {
    let attempt = || -> Result<Result<(), String>, String> {
        let netns = NetNs::anonymous().map_err(|error| error.to_string())?;
        let mut object = Object::load(Sizes { rules: 16, entries: 32, delays: 1, queues: 0 })
            .map_err(|error| error.to_string())?;
        let device = Device { index: 1, name: "lo".into(), ethernet: true };
        let program = TcProgram::of(&device, Hook::Egress).ok_or("no program")?;
        let outcome = netns
            .run(|| {
                let attached = object.attach_tc(&device, program, mechanism)?;
                object.detach(attached)
            })
            .map_err(|error| error.to_string())?;
        Ok(outcome.map_err(|error| error.to_string()))
    };
    match attempt() {
        Ok(Ok(())) => Support::Yes,
        Ok(Err(why)) => Support::No(why.lines().next().unwrap_or_default().to_owned()),
        Err(why) => Support::Unknown(why),
    }
}
