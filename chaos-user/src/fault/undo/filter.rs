//! Filters on clsact, which outlive the process that added them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::fault::FaultError;
use crate::fault::journal::{HostLock, NetnsRef, Record, RunState, runs};
use crate::host::ProcessId;
use crate::kernel::netlink::{BpfFilter, Netlink};
use crate::kernel::netns::NetNs;

/// Names that every program attached by this tool begins with.
const PROGRAM_PREFIX: &str = "chaos_";

/// A filter that may be on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterUndo {
    /// Where the device is.
    pub netns: NetnsRef,
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub device: String,
    /// The kernel's id of the program in the filter, which is not used again before billions of
    /// others were. Version 1 did not know it: then every filter of this tool is meant that no
    /// live run claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<u32>,
    /// Whether the clsact qdisc is this tool's, so that it goes with the last filter.
    #[serde(default = "always")]
    pub clsact: bool,
}

fn always() -> bool {
    true
}

impl Undo for FilterUndo {
    fn describe(&self) -> String {
        format!("the filters of {}", self.device)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        // A namespace that is gone took its filters along.
        let Some(netns) = self.netns.find() else { return Ok(Undone::Nothing) };
        let claimed = match self.program {
            Some(_) => BTreeSet::new(),
            None => claims(self.netns.inode, self.ifindex).map_err(UndoError::new)?,
        };
        let ours = |filter: &BpfFilter| match self.program {
            Some(program) => filter.program == program,
            None => {
                let id = (filter.priority(), filter.handle());
                filter.name.starts_with(PROGRAM_PREFIX) && !claimed.contains(&id)
            }
        };
        let removed = self.remove(&netns, &ours).map_err(UndoError::new)?;
        if removed.is_empty() {
            return Ok(Undone::Nothing);
        }
        Ok(Undone::Restored(format!("{} on {}", removed.join(", "), self.device)))
    }
}

impl FilterUndo {
    /// Whether the clsact of a device is this tool's: it has none yet, or another run made it, whose
    /// filters may well go first. Call it under the [`HostLock`], and attach under it, too.
    pub(in super::super) fn owns_clsact(
        exists: bool,
        netns: &NetNs,
        ifindex: u32,
    ) -> Result<bool, FaultError> {
        if !exists {
            return Ok(true);
        }
        let inode = netns.inode();
        let here = runs()?.into_iter().filter(|run| !run.before_boot());
        Ok(here.flat_map(|run| run.records).any(|record| {
            matches!(record, Record::Filter(other)
                if other.netns.inode == inode && other.ifindex == ifindex && other.clsact)
        }))
    }

    fn remove(
        &self,
        netns: &NetNs,
        ours: &(dyn Fn(&BpfFilter) -> bool + Sync),
    ) -> Result<Vec<String>, FaultError> {
        let _alone = HostLock::take()?;
        netns.block_on(|| async move {
            let netlink = Netlink::open()?;
            let mut removed = Vec::new();
            for direction in ["ingress", "egress"] {
                for filter in netlink.bpf_filters(self.ifindex, direction).await? {
                    if ours(&filter) {
                        netlink.delete_filter(&filter).await?;
                        removed.push(filter.name.clone());
                    }
                }
                let left = netlink.bpf_filters(self.ifindex, direction).await?;
                if let Some(left) = left.iter().find(|filter| ours(filter)) {
                    let left = format!("{} at {direction} of {}", left.name, self.device);
                    return Err(FaultError::NotHealed { left: vec![left] });
                }
            }
            if self.clsact && netlink.has_clsact(self.ifindex).await? {
                netlink.delete_clsact_if_empty(self.ifindex).await?;
            }
            Ok(removed)
        })?
    }
}

/// Priorities and handles of the filters that live runs say are theirs. A run of this version that
/// is just starting has them in its own records. Whoever puts a dead run back holds its journal, which
/// looks alive then.
fn claims(inode: u64, ifindex: u32) -> Result<BTreeSet<(u16, u32)>, FaultError> {
    let mut claims = BTreeSet::new();
    let alive = |run: &RunState| {
        // The first version did not write down when its process started.
        let process = run.controller().or_else(|| ProcessId::of(run.pid()?));
        process.is_some_and(ProcessId::is_alive)
    };
    for run in runs()?.into_iter().filter(|run| run.live && alive(run)) {
        for record in run.records {
            let Record::Active { faults, .. } = record else { continue };
            let here = faults.into_iter().filter(|fault| fault.netns.inode == inode);
            let filters = here.flat_map(|fault| fault.attached).filter_map(|point| point.filter);
            let on = filters.filter(|filter| filter.ifindex == ifindex);
            claims.extend(on.map(|filter| (filter.priority, filter.handle)));
        }
    }
    Ok(claims)
}
