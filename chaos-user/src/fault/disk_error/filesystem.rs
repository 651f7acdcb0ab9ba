//! Which device number the kernel has for a filesystem inside.
//!
//! What stat(2) tells differs from it on btrfs and overlayfs; the list of mounts has the kernel's own.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use chaos_common::disk::device;
use rustix::fs::{AtFlags, StatxFlags, fstat, major, minor, statx};

/// The mounts that this thread sees.
const MOUNTS: &str = "/proc/thread-self/mountinfo";

/// The `s_dev` of the filesystem with this file.
pub(super) fn kernel_device(file: &OwnedFd) -> io::Result<u32> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let mounts = fs::read_to_string(MOUNTS)?;
    if let Some((major, minor)) = mounted(&mounts, found.stx_mnt_id) {
        return Ok(device(major, minor));
    }
    // Mounted in another namespace alone, as the disk of a process of a lab is: a tmpfs, for which
    // both numbers are the same.
    let number = fstat(file)?.st_dev;
    Ok(device(major(number), minor(number)))
}

/// The device of a mount, by its id. Lines are `ID PARENT MAJOR:MINOR ROOT PLACE …`.
fn mounted(mounts: &str, id: u64) -> Option<(u32, u32)> {
    let id = id.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_id() {
        let mounts = "36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw\n\
                      3 36 0:42 / /tmp rw - tmpfs x rw\n";
        assert_eq!(mounted(mounts, 3), Some((0, 42)));
        assert_eq!(mounted(mounts, 36), Some((98, 0)));
        assert_eq!(mounted(mounts, 35), None);
        assert_eq!(mounted("3\n3 1\n", 3), None);
    }

    #[test]
    fn this_process_is_told_where_a_file_is() {
        let file: OwnedFd = fs::File::open("/proc/self/mounts").unwrap().into();
        let number = fstat(&file).unwrap().st_dev;
        assert_eq!(kernel_device(&file).unwrap(), device(major(number), minor(number)));
    }
}
