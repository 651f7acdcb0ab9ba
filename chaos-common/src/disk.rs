//! Errors that a filesystem gives: what the LSM programs are told, and what they count.

use crate::layout::shared;
use crate::rule::Rule;

shared! {
    /// One fault of one filesystem, in an array of one element. Whether it is armed, and the lease,
    /// are in [`crate::control::Control`].
    pub struct DiskFault [144] {
        /// When, and which of the operations that match: the time window, the seed, and the share.
        /// Everything else in it is 0.
        pub rule: Rule,
        /// Id of the cgroup (v2) whose tasks are hit, descendants included; 0 is every task.
        pub cgroup: u64,
        /// Device and inode of the PID namespace that [`Self::exempt`] is a number in.
        pub pidns: [u64; 2],
        /// Bits of [`Operation`].
        pub operations: u64,
        /// The filesystem's `s_dev`, as [`device`] packs it.
        pub device: u32,
        /// Depth of that cgroup below the root, which is 0.
        pub level: u32,
        /// The process that is never hit: the controller.
        pub exempt: u32,
        /// 0.
        pub reserved: u32,
    }

    /// What one kind of operation met, in a per-CPU array by [`Operation`].
    pub struct DiskCounters [32] {
        /// Operations of the whole host that were looked at while armed.
        pub seen: u64,
        /// Those on the filesystem, by the cgroup, in the time window.
        pub matched: u64,
        /// Matched ones that failed by the fault.
        pub acted: u64,
        /// Matched ones that were let through because the lease had run out.
        pub lease_expired: u64,
    }
}

/// What a process asks a filesystem to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Operation {
    /// Reading a file or a directory.
    Read = 0,
    /// Writing to a file, or giving it room.
    Write = 1,
    /// Opening a file for writing.
    Open = 2,
    /// A new name: of a file, directory, link or special file.
    Create = 3,
    /// A name removed: of a file or directory.
    Remove = 4,
    /// A name changed.
    Rename = 5,
    /// Size, mode, owner or times changed.
    Attributes = 6,
}

impl Operation {
    /// Every operation, by ascending index.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::Open,
        Self::Create,
        Self::Remove,
        Self::Rename,
        Self::Attributes,
    ];

    /// Position in arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its bit of [`DiskFault::operations`].
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// How many operations there are.
pub const OPERATIONS: usize = Operation::ALL.len();

/// A device number as the kernel keeps it in memory (`MKDEV`), which is not what stat(2) returns.
pub const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | minor & 0xf_ffff
}

impl DiskCounters {
    /// Adds what another CPU, or another operation, counted.
    pub fn add(&mut self, other: &Self) {
        let Self { seen, matched, acted, lease_expired } = other;
        self.seen = self.seen.wrapping_add(*seen);
        self.matched = self.matched.wrapping_add(*matched);
        self.acted = self.acted.wrapping_add(*acted);
        self.lease_expired = self.lease_expired.wrapping_add(*lease_expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_bit_and_a_place_of_its_own() {
        let bits = Operation::ALL.iter().fold(0, |bits, operation| bits | operation.bit());
        assert_eq!(bits, (1 << OPERATIONS) - 1);
        assert!(Operation::ALL.iter().enumerate().all(|(at, one)| one.index() == at));
    }

    #[test]
    fn devices_are_packed_as_the_kernel_does() {
        assert_eq!(device(0, 38), 38);
        assert_eq!(device(259, 1), 0x1030_0001);
    }
}
