//! Which disk a file is on.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

/// Why a file is on no disk.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// It is not there.
    #[error("look at {}: {source}", path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its filesystem is in memory, or elsewhere.
    #[error(
        "{} is on no disk of this host: its filesystem is {kind}; name a file on one, or the disk \
         itself, such as /dev/sda",
        path.display()
    )]
    NoDisk {
        /// What.
        path: PathBuf,
        /// The kind of its filesystem.
        kind: String,
    },
}

/// The whole disk, as `MAJOR:MINOR`, that holds a file, or that the file is.
pub fn disk_of(path: &Path) -> Result<String, BlockError> {
    let look = |source| BlockError::Look { path: path.to_owned(), source };
    let file = fs::metadata(path).map_err(look)?;
    let device = if file.file_type().is_block_device() { file.rdev() } else { file.dev() };
    let device = named(device);
    if let Some(disk) = whole(&device) {
        return Ok(disk);
    }
    // Some filesystems have a number of their own, and a disk below.
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(look)?;
    let (kind, source) = mount_of(&mounts, &device).unwrap_or(("unknown", ""));
    let below = fs::metadata(source).ok().filter(|file| file.file_type().is_block_device());
    below
        .and_then(|file| whole(&named(file.rdev())))
        .ok_or_else(|| BlockError::NoDisk { path: path.to_owned(), kind: kind.to_owned() })
}

fn named(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
}

/// The disk that a disk or a partition belongs to; `None` if this is neither.
fn whole(device: &str) -> Option<String> {
    let folder = fs::canonicalize(Path::new("/sys/dev/block").join(device)).ok()?;
    if !folder.join("partition").exists() {
        return Some(device.to_owned());
    }
    let disk = fs::read_to_string(folder.parent()?.join("dev")).ok()?;
    Some(disk.trim().to_owned())
}

/// The kind of filesystem and the source that are mounted with this device number.
fn mount_of<'a>(mountinfo: &'a str, device: &str) -> Option<(&'a str, &'a str)> {
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    let mut behind = line.split_once(" - ")?.1.split(' ');
    Some((behind.next()?, behind.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_device_says_what_is_below() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      36 22 0:31 /sub /data rw - btrfs /dev/sdb rw,subvol=/sub\n\
                      40 22 0:40 / /tmp rw,nosuid shared:2 master:3 - tmpfs tmpfs rw\n";
        assert_eq!(mount_of(mounts, "0:31"), Some(("btrfs", "/dev/sdb")));
        assert_eq!(mount_of(mounts, "0:40"), Some(("tmpfs", "tmpfs")));
        assert_eq!(mount_of(mounts, "0:4"), None);
    }

    #[test]
    fn what_is_on_no_disk_says_so() {
        let error = disk_of(Path::new("/proc/self/stat")).unwrap_err().to_string();
        assert!(error.contains("on no disk") && error.contains("proc"), "{error}");
        assert!(disk_of(Path::new("/no/such/file")).is_err());
    }
}
