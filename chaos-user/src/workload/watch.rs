//! The memory and the life of a process while a workload loads it.

use std::time::Duration;

use procfs::process::{ClearRefs, Process as Entry};

/// Freed memory goes back to the kernel a moment after a request has ended.
const SETTLE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 10;

/// How much memory a process took, in bytes more than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// At its highest.
    pub peak: u64,
    /// In the end.
    pub left: u64,
}

/// Whose memory and life are watched.
pub struct Watched<'a> {
    name: String,
    pid: Box<dyn Fn() -> Result<Option<u32>, String> + 'a>,
}

impl<'a> Watched<'a> {
    /// Something with a name, and how to find its main process; none if it does not run.
    pub fn new(name: String, pid: impl Fn() -> Result<Option<u32>, String> + 'a) -> Self {
        Self { name, pid: Box::new(pid) }
    }
}

impl std::fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A process and what it was like before.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    watched: Watched<'a>,
    pid: Option<u32>,
    before: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn begin(watched: Watched<'a>) -> Self {
        let pid = (watched.pid)().ok().flatten();
        let before = pid.and_then(entry).map_or(0, |entry| {
            // From now on the kernel's highest mark is that of this workload.
            let _ = entry.clear_refs(ClearRefs::PeakRSS);
            memory(&entry).1
        });
        Self { watched, pid, before }
    }

    /// What it took, or that it died.
    pub(super) fn end(&self) -> Result<Use, String> {
        let died = || format!("`{}` died and answers no more", self.watched.name);
        let now = (self.watched.pid)()?;
        let pid = self.pid.filter(|pid| now == Some(*pid)).ok_or_else(died)?;
        let mut used = Use { peak: 0, left: u64::MAX };
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(SETTLE);
            }
            let entry = entry(pid).ok_or_else(died)?;
            let (peak, now) = memory(&entry);
            used.peak = used.peak.max(peak.saturating_sub(self.before));
            used.left = used.left.min(now.saturating_sub(self.before));
        }
        Ok(used)
    }
}

fn entry(pid: u32) -> Option<Entry> {
    Entry::new(pid.cast_signed()).ok()
}

/// The highest and the present resident size, in bytes.
fn memory(entry: &Entry) -> (u64, u64) {
    let status = entry.status().ok();
    let kib = |field: fn(&procfs::process::Status) -> Option<u64>| {
        status.as_ref().and_then(field).unwrap_or(0).saturating_mul(1024)
    };
    (kib(|status| status.vmhwm), kib(|status| status.vmrss))
}
