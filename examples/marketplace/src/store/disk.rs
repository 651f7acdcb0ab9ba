//! Whether the disk takes writes: read-only mode, its alert, and the way back.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::sys::statvfs::statvfs;

use super::Store;
use crate::{
    defect::{Defect, Defects},
    error::{Error, Result},
    metrics::Metrics,
};

/// What the disk lets us do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum DiskState {
    /// Everything works.
    ReadWrite,
    /// Writes are refused until one succeeds again.
    ReadOnly {
        /// Why, as the alert says it.
        reason: String,
        /// Since when, in ms since 1970.
        since: i64,
    },
}

/// The state of the disk below the data folder.
#[derive(Debug)]
pub struct Disk {
    state: Mutex<DiskState>,
    folder: PathBuf,
    reserve: u64,
    defects: Defects,
    metrics: Metrics,
}

impl Disk {
    pub(super) fn new(folder: &Path, reserve: u64, defects: Defects, metrics: Metrics) -> Self {
        let state = Mutex::new(DiskState::ReadWrite);
        Self { state, folder: folder.to_owned(), reserve, defects, metrics }
    }

    /// The state now.
    pub fn state(&self) -> DiskState {
        self.lock().clone()
    }

    /// Bytes that are free for us, if the filesystem says.
    pub fn free(&self) -> Option<u64> {
        let stat = statvfs(&self.folder).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Refuses a write while the disk takes none.
    pub(super) fn check(&self) -> Result<()> {
        match &*self.lock() {
            DiskState::ReadWrite => Ok(()),
            DiskState::ReadOnly { .. } => Err(Error::ReadOnly),
        }
    }

    /// A write failed because of the disk.
    pub(super) fn failed(&self, error: &rusqlite::Error, path: &Path) {
        self.metrics.disk_errors.inc();
        if self.defects.has(Defect::CrashOnFullDisk) {
            crate::crash("a write found no space");
        }
        if self.defects.has(Defect::CorruptOnFullDisk) {
            for (path, share) in [(path.to_owned(), 2), (path.with_extension("db-wal"), 0)] {
                let file = File::options().write(true).open(path);
                let _ = file.and_then(|file| {
                    let length = file.metadata()?.len();
                    file.set_len(length.checked_div(share).unwrap_or(0))
                });
            }
        }
        self.degrade(format!("a write failed: {error}"));
    }

    fn degrade(&self, reason: String) {
        let mut state = self.lock();
        if self.defects.has(Defect::NoReadOnly) || *state != DiskState::ReadWrite {
            return;
        }
        if !self.defects.has(Defect::NoDiskAlert) {
            tracing::error!(alert = "disk", reason, "read-only: the disk takes no writes");
            self.metrics.alert("disk", true);
            self.metrics.read_only.set(1);
        }
        *state = DiskState::ReadOnly { reason, since: crate::now_ms() };
    }

    fn recovered(&self) {
        *self.lock() = DiskState::ReadWrite;
        self.metrics.alert("disk", false);
        self.metrics.read_only.set(0);
        tracing::warn!(alert = "disk", "read-write: the disk takes writes again");
    }

    fn has_room(&self) -> bool {
        let careless = [Defect::CorruptOnFullDisk, Defect::CrashOnFullDisk, Defect::NoReadOnly];
        careless.into_iter().any(|defect| self.defects.has(defect))
            || self.free().is_none_or(|free| free >= self.reserve)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the free space, and tries the disk while the service is read-only. Never returns.
pub(crate) async fn watch(store: Store, every: Duration) {
    let disk = &store.disk;
    loop {
        tokio::time::sleep(every).await;
        match disk.state() {
            DiskState::ReadWrite if !disk.has_room() => {
                let (free, reserve) = (disk.free().unwrap_or_default(), disk.reserve);
                disk.degrade(format!("{free} bytes are free, {reserve} are needed"));
            }
            DiskState::ReadOnly { .. }
                if disk.has_room() && !disk.defects.has(Defect::ReadOnlyForever) =>
            {
                match store.try_disk().await {
                    Ok(()) => disk.recovered(),
                    Err(error) => tracing::debug!(%error, "the disk still takes no writes"),
                }
            }
            _ => {}
        }
    }
}
