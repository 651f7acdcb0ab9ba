//! All that is queued on one device, as a record that can be stored, judged, put back and compared.

use std::collections::BTreeSet;

use netlink_packet_core::Parseable as _;
use serde::{Deserialize, Serialize};

use super::codec::{TcQdiscHtb, TcQdiscNetem, TcQdiscNetemOption};
use super::error::QdiscError;
use super::handle::Handle;
use super::not_restorable::NotRestorable;
use super::rehearsal;
use super::repeat::without_counters;
use super::socket::TcSocket;

/// Kinds whose dumped options are also what makes them, and that keep nothing else.
const REPEATABLE: &[&str] = &[
    "pfifo",
    "bfifo",
    "pfifo_fast",
    "fq_codel",
    "fq",
    "sfq",
    "codel",
    "tbf",
    "prio",
    "htb",
    "netem",
];
/// What the kernel gives a device that is asked for nothing.
const DEFAULT_QDISC: &str = "/proc/sys/net/core/default_qdisc";

/// A qdisc as it was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredQdisc {
    /// Its kind.
    pub kind: String,
    /// Its handle; unspecified if the kernel made it by itself.
    pub handle: Handle,
    /// Where it hangs.
    pub parent: Handle,
    /// The value of `TCA_OPTIONS`, counters in it zeroed.
    pub options: Option<Vec<u8>>,
    /// Whether a size table (`tc … stab`) is set.
    #[serde(default)]
    pub has_size_table: bool,
    /// Whether a device does its work.
    #[serde(default)]
    pub offloaded: bool,
}

/// A class as it was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClass {
    /// Its kind, that of its qdisc.
    pub kind: String,
    /// Its handle.
    pub handle: Handle,
    /// The class above it, or the root.
    pub parent: Handle,
    /// The value of `TCA_OPTIONS`.
    pub options: Option<Vec<u8>>,
}

/// The root qdisc of a device and everything below it; clsact and ingress stand beside it and are
/// not part of it.
///
/// Two snapshots are equal when the dumps were, byte for byte, apart from counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootQdisc {
    /// Index of the device.
    pub device: u32,
    /// The root first. Empty for a device that was never up.
    pub qdiscs: Vec<StoredQdisc>,
    /// Classes that were made by hand (htb's).
    pub classes: Vec<StoredClass>,
    /// Filters below the root; they are not stored.
    pub filters: usize,
    /// The default qdisc of the system, where it can be read.
    pub default_kind: Option<String>,
}

/// How a snapshot is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Restore {
    /// It is the kernel's own default: taking ours away brings it back.
    ByDeleting,
    /// It was made by somebody: it is made again from the same bytes.
    ByAdding,
}

impl RootQdisc {
    /// Records what is queued on `device`.
    pub fn snapshot(tc: &mut TcSocket, device: u32) -> Result<Self, QdiscError> {
        let mut qdiscs: Vec<StoredQdisc> = tc
            .qdiscs(device)?
            .into_iter()
            .filter(|record| !record.is_ingress())
            .map(|record| StoredQdisc {
                options: record.options.map(|bytes| without_counters(&record.kind, bytes)),
                kind: record.kind,
                handle: record.handle,
                parent: record.parent,
                has_size_table: record.has_size_table,
                offloaded: record.offloaded,
            })
            .collect();
        qdiscs.sort_by_key(|qdisc| (qdisc.parent != Handle::ROOT, qdisc.parent, qdisc.handle));
        let mut classes: Vec<StoredClass> = tc
            .classes(device)?
            .into_iter()
            .filter(|record| record.kind == TcQdiscHtb::KIND)
            .map(|record| StoredClass {
                kind: record.kind,
                handle: record.handle,
                parent: record.parent,
                options: record.options,
            })
            .collect();
        classes.sort_by_key(|class| class.handle);
        let mut filters = 0;
        let explicit = qdiscs.iter().filter(|qdisc| !qdisc.handle.is_unspecified());
        let parents: BTreeSet<Handle> = explicit
            .map(|qdisc| qdisc.handle)
            .chain(classes.iter().map(|class| class.handle))
            .collect();
        for parent in parents {
            // Kinds without classes have no place for filters and refuse to be asked.
            match tc.filters(device, parent) {
                Ok(found) => filters += found.len(),
                Err(QdiscError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let default_kind =
            std::fs::read_to_string(DEFAULT_QDISC).ok().map(|kind| kind.trim().to_owned());
        Ok(Self { device, qdiscs, classes, filters, default_kind })
    }

    /// The root, if the device has one.
    pub fn root(&self) -> Option<&StoredQdisc> {
        self.qdiscs.iter().find(|qdisc| qdisc.parent == Handle::ROOT)
    }

    /// Whether it can be put back exactly, and how. What has to be made again is made once in a
    /// network namespace of its own first, and its dump compared; the device is not touched.
    pub fn restorable(&self) -> Result<Restore, NotRestorable> {
        let Some(root) = self.root() else {
            return Ok(Restore::ByDeleting);
        };
        if root.handle.is_unspecified() {
            return self.same_default(root).map(|()| Restore::ByDeleting);
        }
        if self.filters > 0 {
            return Err(NotRestorable::Filters { count: self.filters, handle: root.handle });
        }
        self.explicit().try_for_each(repeatable)?;
        rehearsal::rehearse(self)?;
        Ok(Restore::ByAdding)
    }

    /// A free number for a qdisc of ours: one that no qdisc of the device has.
    pub fn free_handle(&self) -> Handle {
        const FIRST: u16 = 0xc4a0;
        let taken: BTreeSet<u16> = self.qdiscs.iter().map(|qdisc| qdisc.handle.major()).collect();
        let free = (FIRST..0xffff).find(|major| !taken.contains(major));
        Handle::qdisc(free.unwrap_or(FIRST))
    }

    /// What somebody made.
    pub(super) fn explicit(&self) -> impl Iterator<Item = &StoredQdisc> {
        self.qdiscs.iter().filter(|qdisc| !qdisc.handle.is_unspecified())
    }

    /// Whether deleting ours would give the default that is there now.
    fn same_default(&self, root: &StoredQdisc) -> Result<(), NotRestorable> {
        let leaf = match root.kind.as_str() {
            "noqueue" => return Ok(()),
            "mq" => self.qdiscs.iter().find(|qdisc| qdisc.parent != Handle::ROOT),
            _ => Some(root),
        };
        match (leaf, &self.default_kind) {
            (Some(leaf), Some(default)) if leaf.kind != *default => {
                Err(NotRestorable::DefaultChanged {
                    have: leaf.kind.clone(),
                    default: default.clone(),
                })
            }
            // Where the default cannot be read, the dump after the restore decides.
            _ => Ok(()),
        }
    }
}

fn repeatable(qdisc: &StoredQdisc) -> Result<(), NotRestorable> {
    let StoredQdisc { kind, handle, options, has_size_table, offloaded, .. } = qdisc;
    let (kind, handle) = (kind.clone(), *handle);
    // mq has no options and no state of its own.
    if kind != "mq" && !REPEATABLE.contains(&kind.as_str()) {
        return Err(NotRestorable::Kind { kind, handle });
    }
    if *has_size_table {
        return Err(NotRestorable::SizeTable { kind, handle });
    }
    if *offloaded {
        return Err(NotRestorable::Offloaded { kind, handle });
    }
    if kind == TcQdiscNetem::KIND && !tells_its_table(options.as_deref().unwrap_or_default()) {
        return Err(NotRestorable::UnknownTable { handle });
    }
    Ok(())
}

/// Whether a netem's distribution cannot matter because nothing varies.
fn tells_its_table(options: &[u8]) -> bool {
    TcQdiscNetem::parse(options).is_ok_and(|netem| {
        netem.qopt.jitter == 0
            && netem.options.iter().all(|option| match option {
                TcQdiscNetemOption::Jitter64(ns) => *ns == 0,
                TcQdiscNetemOption::Slot(slot) => slot.dist_jitter == 0,
                _ => true,
            })
    })
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
pub(super) mod tests;
