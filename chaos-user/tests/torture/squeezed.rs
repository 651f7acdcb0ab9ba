//! A cgroup for a fault to limit. Nothing runs in it: what counts is that its limits come back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use chaos::host::Cgroups;

/// Removed when it is dropped.
pub(crate) struct Squeezed(pub(crate) PathBuf);

impl Squeezed {
    /// Whether its CPU time can be limited.
    pub(crate) fn is_possible() -> bool {
        Self::new().0.join("cpu.max").exists()
    }

    /// The limit of its CPU time.
    pub(crate) fn cpus(&self) -> String {
        std::fs::read_to_string(self.0.join("cpu.max")).unwrap_or_default()
    }

    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chaos-squeezed-{}-{count}", std::process::id());
        let path = Cgroups::find().unwrap().root().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Squeezed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
