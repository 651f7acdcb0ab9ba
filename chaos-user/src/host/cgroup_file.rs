//! Files of one cgroup and no other.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use crate::plan::{CgroupRef, limit_in};

/// The most that is read of a file, in bytes: `io.stat` has a line for each disk.
const ENOUGH: u64 = 1 << 20;

/// A limit of a cgroup (v2), known by the cgroup's id: one that is made later at the same place has
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupLimit {
    /// The cgroup's folder.
    pub cgroup: PathBuf,
    /// Its id: the folder's inode number.
    pub id: u64,
    /// The name of the file.
    pub file: String,
    /// The disk that it is for, as `MAJOR:MINOR`, in files that have a line for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl CgroupLimit {
    /// One of a cgroup.
    pub fn new(cgroup: &CgroupRef, file: &str, device: Option<String>) -> Self {
        Self { cgroup: cgroup.path.clone(), id: cgroup.id, file: file.to_owned(), device }
    }

    /// What it is, in the kernel's words.
    pub fn read(&self) -> io::Result<String> {
        self.look(&self.file).map(|text| limit_in(&text, self.device.as_deref()))
    }

    /// Makes it this.
    pub fn write(&self, value: &str) -> io::Result<()> {
        let line = match &self.device {
            Some(device) => format!("{device} {value}"),
            None => value.to_owned(),
        };
        self.open(&self.file, OFlags::WRONLY)?.write_all(line.as_bytes())
    }

    /// What another file of the same cgroup says.
    pub fn look(&self, file: &str) -> io::Result<String> {
        let mut text = String::new();
        self.open(file, OFlags::RDONLY)?.take(ENOUGH).read_to_string(&mut text)?;
        Ok(text)
    }

    fn open(&self, file: &str, flags: OFlags) -> io::Result<File> {
        let folder = File::open(&self.cgroup)?;
        if folder.metadata()?.ino() != self.id {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat(&folder, file, flags, Mode::empty())?.into())
    }
}

/// Whether an error says that the cgroup is gone: its files go first, then its folder.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cgroup_of_the_same_name_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cpu.max"), "max 100000\n").unwrap();
        let id = std::fs::metadata(folder.path()).unwrap().ino();
        let limit = |id| CgroupLimit {
            cgroup: folder.path().to_owned(),
            id,
            file: "cpu.max".into(),
            device: None,
        };
        assert_eq!(limit(id).read().unwrap(), "max 100000");
        let other = limit(id + 1);
        assert!(is_gone(&other.read().unwrap_err()));
        assert!(is_gone(&other.write("1000 100000").unwrap_err()));
        assert!(is_gone(&limit(id).look("cpu.stat").unwrap_err()));
        limit(id).write("1000 100000").unwrap();
        assert_eq!(limit(id).read().unwrap(), "1000 100000");
    }
}
