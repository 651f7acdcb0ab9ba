//! A small filesystem. Needs root.

use std::{fs, io::Write as _, path::Path};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A small filesystem, unmounted at the end.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=8m"))
            .unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.path().join("fill")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let _ = file.write_all(&[0; 1]);
    }

    pub(crate) fn release(&self) {
        fs::remove_file(self.path().join("fill")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}
