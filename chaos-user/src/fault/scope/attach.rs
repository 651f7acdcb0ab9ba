//! Programs are put where packets meet them, and taken off again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chaos_common::Hook;

use super::Scope;
use crate::fault::journal::{Entry, HostLock, Journal, Record};
use crate::fault::{FaultError, FilterUndo};
use crate::host::Cgroups;
use crate::kernel::bpf::{Attached, CgroupProgram, Device, Mechanism, TcProgram};
use crate::kernel::netlink::{Link, Netlink};
use crate::kernel::netns::NetNs;
use crate::plan::Action;

/// A program in its place, with the record of it if it would stay there without this process.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) attached: Attached,
    entry: Option<Entry>,
}

impl Scope {
    pub(super) fn attach_tc(
        &mut self,
        used: &[&Link],
        journal: &Journal,
    ) -> Result<(), FaultError> {
        let wanted: BTreeSet<Hook> = self.hooks.iter().flatten().copied().collect();
        let netns = self.fault.netns.clone();
        let mechanism = self.fault.mechanism;
        for link in used {
            let device =
                Device { index: link.index, name: link.name.clone(), ethernet: link.ethernet };
            for &hook in &wanted {
                let Some(program) = TcProgram::of(&device, hook) else { continue };
                if mechanism == Mechanism::Tcx {
                    self.place(&netns, &device, program, None)?;
                    continue;
                }
                // No other run may add or remove the clsact qdisc between the look and the filter.
                let _alone = HostLock::take()?;
                let exists = netns
                    .block_on(|| async { Netlink::open()?.has_clsact(device.index).await })??;
                // Written before it is known whether TCX will do: an undo record without anything
                // to undo is harmless, the reverse is not.
                let entry = journal.append(Record::Filter(FilterUndo {
                    netns: (&netns).into(),
                    ifindex: device.index,
                    device: device.name.clone(),
                    program: Some(self.object.program_id(program)?),
                    clsact: FilterUndo::owns_clsact(exists, &netns, device.index)?,
                }))?;
                self.place(&netns, &device, program, Some(entry))?;
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        netns: &NetNs,
        device: &Device,
        program: TcProgram,
        entry: Option<Entry>,
    ) -> Result<(), FaultError> {
        let (object, mechanism) = (&mut self.object, self.fault.mechanism);
        let attached = netns
            .run(|| object.attach_tc(device, program, mechanism))
            .map_err(FaultError::from)
            .and_then(|attached| attached.map_err(FaultError::from));
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                // What fails here, too, stays in the journal.
                let _ = entry.map(Entry::undo);
                return Err(error);
            }
        };
        let entry = match attached.point.filter {
            Some(_) => entry,
            None => {
                // A link goes with this process, so the record is about nothing.
                entry.into_iter().for_each(Entry::done);
                None
            }
        };
        self.attached.push(Placed { attached, entry });
        Ok(())
    }

    pub(super) fn attach_cgroups(&mut self) -> Result<(), FaultError> {
        let mut arriving: Vec<PathBuf> = Vec::new();
        let mut calling: Vec<PathBuf> = Vec::new();
        let rules = self.fault.rules.iter().zip(&self.hooks);
        // Protection looks where other rules act, and brings nothing of its own.
        for (rule, hooks) in rules.filter(|(rule, _)| rule.action != Action::Protect) {
            let cgroup = rule.selector.cgroup.as_ref();
            if hooks.contains(&Hook::CgroupIngress) {
                arriving.extend(cgroup.map(|cgroup| cgroup.path.clone()));
            }
            if hooks.contains(&Hook::Connect) {
                let path = match cgroup {
                    Some(cgroup) => cgroup.path.clone(),
                    None => Cgroups::find()?.root().to_owned(),
                };
                calling.push(path);
            }
        }
        for path in topmost(arriving) {
            let attached = self.object.attach_cgroup(&path, CgroupProgram::Ingress)?;
            self.attached.push(Placed { attached, entry: None });
        }
        for path in topmost(calling) {
            for program in CgroupProgram::CALLS {
                let attached = self.object.attach_cgroup(&path, program)?;
                self.attached.push(Placed { attached, entry: None });
            }
        }
        Ok(())
    }

    /// Takes everything off again; what could not be is described.
    pub(super) fn detach_all(&mut self) -> Vec<String> {
        self.ramp = None;
        self.object.disarm();
        let mut left = Vec::new();
        // Held packets come back through the programs, so those go last.
        if let Some(mut detour) = self.detour.take() {
            left.extend(detour.tear_down(&mut self.object, &self.fault.netns));
        }
        while let Some(Placed { attached, entry }) = self.attached.pop() {
            let point = attached.point.clone();
            let object = &mut self.object;
            let netns = self.fault.netns.clone();
            let detached = netns
                .run(|| object.detach(attached).map_err(FaultError::from))
                .map_err(FaultError::from)
                .and_then(|outcome| outcome);
            // The record says what has to be gone, reads it back, and sees to the clsact qdisc.
            let outcome = match entry {
                Some(entry) => entry.undo().map(|_| ()).map_err(|error| error.to_string()),
                None => detached.map_err(|error| error.to_string()),
            };
            if let Err(error) = outcome {
                left.push(format!("{point}: {error}"));
            }
        }
        left
    }
}

/// A program on a cgroup also runs for its descendants; attached to both it would count twice.
fn topmost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}
