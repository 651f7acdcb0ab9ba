//! Settings of a network namespace that a detour over the loopback needs.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::fault::journal::{HostLock, NetnsRef, Record, runs};

/// A setting below `/proc/sys/net` that may have been changed. Several runs may need the same one:
/// the last of them puts it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlUndo {
    /// Whose it is.
    pub netns: NetnsRef,
    /// Its name, such as `ipv4/conf/lo/route_localnet`.
    pub name: String,
    /// Its value before anybody of us changed it.
    pub before: String,
    /// Its value now.
    pub ours: String,
    /// Tells this record from those of others: process and number.
    pub claim: (u32, u32),
}

impl SysctlUndo {
    /// A record with a claim of its own. Call it under the [`HostLock`], which keeps others from
    /// coming or going meanwhile.
    pub fn new(netns: NetnsRef, name: &str, now: &str, ours: &str) -> Result<Self, UndoError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let claim = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut record = Self {
            netns,
            name: name.to_owned(),
            before: now.to_owned(),
            ours: ours.to_owned(),
            claim,
        };
        if let Some(other) = record.others(false)?.into_iter().next() {
            record.before = other.before;
        }
        Ok(record)
    }

    /// Where it is, for a thread inside the namespace.
    pub fn path(&self) -> String {
        format!("/proc/sys/net/{}", self.name)
    }

    /// Records of others about the same setting that are not undone.
    fn others(&self, only_live: bool) -> Result<Vec<Self>, UndoError> {
        let found = runs().map_err(UndoError::new)?;
        let records =
            found.into_iter().filter(|run| run.live || !only_live).flat_map(|run| run.records);
        Ok(records
            .filter_map(|record| match record {
                Record::Sysctl(other) => Some(other),
                _ => None,
            })
            .filter(|other| {
                (&other.netns, &other.name) == (&self.netns, &self.name)
                    && other.claim != self.claim
            })
            .collect())
    }
}

impl Undo for SysctlUndo {
    fn describe(&self) -> String {
        format!("the setting net/{}", self.name)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        let Some(netns) = self.netns.find() else { return Ok(Undone::Nothing) };
        let _alone = HostLock::take().map_err(UndoError::new)?;
        if !self.others(true)?.is_empty() {
            return Ok(Undone::Nothing);
        }
        let path = self.path();
        let put_back = || {
            // What somebody else has changed since is theirs.
            if std::fs::read_to_string(&path)?.trim() != self.ours || self.ours == self.before {
                return Ok(Undone::Nothing);
            }
            std::fs::write(&path, &self.before)?;
            Ok::<_, std::io::Error>(Undone::Restored(self.describe()))
        };
        netns.run(put_back).map_err(UndoError::new)?.map_err(UndoError::new)
    }
}
