//! `chaos heal` and `chaos status`: other processes' runs, live and dead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chaos_common::Hook;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::journal::{ActiveFault, Record, RunState, runs};
use super::root_netem::{RootNetemError, RootNetemHealed, RootNetemUndo};
use super::{FaultError, RuleEvidence};
use crate::kernel::bpf::Counters;
use crate::kernel::netlink::Netlink;
use crate::kernel::netlink::qdisc::TcSocket;
use crate::kernel::netns::NetNs;

/// What `chaos heal` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct HealReport {
    /// Live runs that were asked to end and did.
    pub ended: Vec<String>,
    /// Runs of processes that are gone, and what was undone for each.
    pub recovered: Vec<(String, Vec<String>)>,
    /// What is still there, and why.
    pub left: Vec<String>,
}

/// How long a live run gets to heal itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names that every program attached by this tool begins with.
const PROGRAM_PREFIX: &str = "chaos_";

/// Ends live runs (all, or the named ones) and undoes what dead ones left. Idempotent.
pub fn heal_runs(only: &[String], leave_live: bool) -> Result<HealReport, FaultError> {
    let mut report = HealReport::default();
    let wanted = |run: &RunState| only.is_empty() || only.contains(&run.name);
    for run in runs()?.into_iter().filter(wanted) {
        if run.live && !leave_live {
            match end_live(&run) {
                Ok(()) => report.ended.push(run.name.clone()),
                Err(why) => report.left.push(format!("run `{}`: {why}", run.name)),
            }
        }
    }
    let claimed = Claims::of_live_runs()?;
    for run in runs()?.into_iter().filter(|run| wanted(run) && !run.live) {
        let mut undone = Vec::new();
        let mut failures = Vec::new();
        for record in &run.records {
            if let Record::RootNetem { netns, undo } = record {
                // A namespace that is gone took its qdiscs along.
                let Some(netns) = NetNs::find(netns.inode) else { continue };
                match heal_root(&netns, undo) {
                    Ok(what) => undone.extend(what),
                    Err(error) => {
                        failures.push(format!("run `{}`, {}: {error}", run.name, undo.device));
                    }
                }
            }
            if let Record::Filter { netns, ifindex, device } = record {
                // A namespace that is gone took its filters along.
                let Some(netns) = NetNs::find(netns.inode) else { continue };
                if claimed.devices.contains(&(netns.inode(), *ifindex)) {
                    failures.push(format!(
                        "run `{}`, {device}: another run is starting on this device; try again",
                        run.name
                    ));
                    continue;
                }
                match remove_filters(&netns, *ifindex, &claimed) {
                    Ok(removed) => {
                        undone
                            .extend(removed.into_iter().map(|name| format!("{name} on {device}")));
                    }
                    Err(error) => failures.push(format!("run `{}`, {device}: {error}", run.name)),
                }
            }
        }
        let name = run.name.clone();
        if failures.is_empty() {
            run.forget()?;
            report.recovered.push((name, undone));
        }
        report.left.extend(failures);
    }
    Ok(report)
}

fn end_live(run: &RunState) -> Result<(), String> {
    let pid = run.pid().ok_or("its journal does not say which process it is")?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)
        .map_err(|errno| format!("could not ask process {pid} to end it: {}", errno.desc()))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let still_live = runs()
            .map_err(|error| error.to_string())?
            .iter()
            .any(|other| other.name == run.name && other.live);
        if !still_live {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("process {pid} did not end it within {} s", PATIENCE.as_secs()))
}

type FilterId = (u64, u32, String, u16, u32);

/// What live runs say is theirs.
#[derive(Default)]
struct Claims {
    filters: BTreeSet<FilterId>,
    /// Devices of runs that are just starting: which of the filters are theirs is not known yet.
    devices: BTreeSet<(u64, u32)>,
}

impl Claims {
    fn of_live_runs() -> Result<Self, FaultError> {
        let mut claims = Self::default();
        for run in runs()?.into_iter().filter(|run| run.live) {
            let started = run.records.iter().any(|r| matches!(r, Record::Active { .. }));
            for record in run.records {
                match record {
                    Record::Filter { netns, ifindex, .. } if !started => {
                        claims.devices.insert((netns.inode, ifindex));
                    }
                    Record::Active { faults, .. } => {
                        for fault in faults {
                            claims.add(fault);
                        }
                    }
                    Record::Begin { .. } | Record::Filter { .. } | Record::RootNetem { .. } => {}
                }
            }
        }
        Ok(claims)
    }

    fn add(&mut self, fault: ActiveFault) {
        let inode = fault.netns.inode;
        let filters = fault.attached.into_iter().filter_map(|point| point.filter);
        self.filters.extend(filters.map(|filter| {
            (inode, filter.ifindex, filter.direction, filter.priority, filter.handle)
        }));
    }
}

fn remove_filters(netns: &NetNs, ifindex: u32, claims: &Claims) -> Result<Vec<String>, FaultError> {
    let inode = netns.inode();
    netns.block_on(|| async move {
        let netlink = Netlink::open()?;
        let mut removed = Vec::new();
        for direction in ["ingress", "egress"] {
            for filter in netlink.bpf_filters(ifindex, direction).await? {
                let id = (inode, ifindex, direction.into(), filter.priority(), filter.handle());
                if filter.name.starts_with(PROGRAM_PREFIX) && !claims.filters.contains(&id) {
                    netlink.delete_filter(&filter).await?;
                    removed.push(filter.name.clone());
                }
            }
        }
        if !removed.is_empty() {
            netlink.delete_clsact_if_empty(ifindex).await?;
        }
        Ok(removed)
    })?
}

/// Puts the root qdisc back. `None` if the device is gone.
fn heal_root(netns: &NetNs, undo: &RootNetemUndo) -> Result<Option<String>, RootNetemError> {
    let healed = netns.run(|| undo.heal(&mut TcSocket::open()?))??;
    let device = &undo.device;
    Ok(match healed {
        RootNetemHealed::AsBefore => Some(format!("root netem on {device}")),
        RootNetemHealed::AsFarAsPossible { difference } => {
            Some(format!("root netem on {device} (forced: {difference})"))
        }
        RootNetemHealed::DeviceGone => None,
    })
}

/// Reads the counters of another process's fault.
pub fn live_counters(fault: &ActiveFault) -> Result<Vec<RuleEvidence>, FaultError> {
    let counters = Counters::by_id(fault.counter_maps)?;
    let hooks = counters.hooks()?;
    fault
        .rules
        .iter()
        .map(|rule| {
            let own = counters.rule(rule.slot)?;
            let looked_at =
                Hook::ALL.iter().filter(|hook| rule.hooks.contains(&(hook.index() as u32)));
            Ok(RuleEvidence {
                rule: rule.name.clone(),
                seen: looked_at.map(|&hook| hooks.hook(hook).seen).sum(),
                matched: own.matched,
                acted: own.acted,
                bytes: own.bytes,
            })
        })
        .collect()
}
