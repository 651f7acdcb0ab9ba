//! How many files a process has open, and how many it may have.

use std::fs;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

use super::ProcessId;

/// RLIMIT_NOFILE of a process: one more than the highest number that a descriptor of it may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorLimit {
    /// What holds; `None` is no limit.
    pub soft: Option<u64>,
    /// What the process may raise it to; `None` is no limit.
    pub hard: Option<u64>,
}

impl DescriptorLimit {
    /// Of this process; an error if it is gone.
    pub fn of(process: ProcessId) -> io::Result<Self> {
        let value = |limit| match limit {
            procfs::process::LimitValue::Unlimited => None,
            procfs::process::LimitValue::Value(value) => Some(value),
        };
        let limits = procfs::process::Process::new(process.pid.cast_signed())
            .and_then(|process| process.limits())
            .map_err(io::Error::other)?;
        if !process.is_alive() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let limit = limits.max_open_files;
        Ok(Self { soft: value(limit.soft_limit), hard: value(limit.hard_limit) })
    }

    /// Makes it that of a process.
    pub fn set(self, process: ProcessId) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let pid = Pid::from_raw(process.pid.cast_signed()).ok_or_else(gone)?;
        // Looked at last thing: another process may get the number of one that is gone.
        if !process.is_alive() {
            return Err(gone());
        }
        let new = Rlimit { current: self.soft, maximum: self.hard };
        prlimit(Some(pid), Resource::Nofile, new)?;
        Ok(())
    }
}

/// The numbers of the descriptors that a process has, in ascending order.
pub fn descriptors(process: ProcessId) -> io::Result<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The limit that leaves room for so many descriptors more than these (in ascending order): each new
/// one gets the lowest number that is free.
pub fn limit_with_room(used: &[u64], spare: u64) -> u64 {
    let (mut limit, mut free) = (0, 0);
    for &number in used {
        let gap = number.saturating_sub(limit);
        if free + gap > spare {
            break;
        }
        free += gap;
        limit = number + 1;
    }
    limit + (spare - free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_in_numbers_that_are_free() {
        for (used, spare, limit) in [
            (&[][..], 0, 0),
            (&[][..], 3, 3),
            (&[0, 1, 2][..], 0, 3),
            (&[0, 1, 2][..], 2, 5),
            // 1 is free, and so is what follows 4.
            (&[0, 2, 3, 4][..], 0, 1),
            (&[0, 2, 3, 4][..], 1, 5),
            (&[0, 2, 3, 4][..], 2, 6),
            (&[0, 9][..], 3, 4),
            (&[5][..], 5, 6),
        ] {
            assert_eq!(limit_with_room(used, spare), limit, "{used:?} and {spare}");
            let free = (0..limit).filter(|number| !used.contains(number)).count();
            assert_eq!(free as u64, spare, "{used:?} and {spare}");
        }
    }

    #[test]
    fn the_limit_of_another_process_is_not_touched() {
        let own = ProcessId::own().unwrap();
        let limit = DescriptorLimit::of(own).unwrap();
        limit.set(own).unwrap();
        let other = ProcessId { started: own.started + 1, ..own };
        assert!(limit.set(other).is_err() && DescriptorLimit::of(other).is_err());
        assert!(descriptors(own).unwrap().starts_with(&[0]));
    }
}
