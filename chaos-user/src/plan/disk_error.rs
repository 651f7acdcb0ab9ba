//! What a failing filesystem answers, and to what. Pure.

use std::fmt;

use chaos_common::disk::Operation;

/// The error that operations fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskErrno {
    /// No space left on device.
    NoSpace,
    /// The user's quota is used up.
    Quota,
    /// The device fails.
    Failure,
    /// The filesystem is read-only.
    ReadOnly,
}

impl DiskErrno {
    /// Each by its name.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("ENOSPC", Self::NoSpace),
        ("EDQUOT", Self::Quota),
        ("EIO", Self::Failure),
        ("EROFS", Self::ReadOnly),
    ];

    /// Its number.
    pub const fn number(self) -> u16 {
        let number = match self {
            Self::NoSpace => libc::ENOSPC,
            Self::Quota => libc::EDQUOT,
            Self::Failure => libc::EIO,
            Self::ReadOnly => libc::EROFS,
        };
        number as u16
    }

    /// What fails on a real filesystem in that state: a full one can still be read and cleared, a
    /// read-only one can only be read, and of a broken one hardly anything works,
    /// except that files which are cached still open.
    pub fn operations(self) -> Vec<Operation> {
        let all = Operation::ALL.into_iter();
        all.filter(|operation| match self {
            Self::NoSpace | Self::Quota => {
                matches!(operation, Operation::Write | Operation::Create)
            }
            Self::Failure => *operation != Operation::Open,
            Self::ReadOnly => *operation != Operation::Read,
        })
        .collect()
    }
}

impl fmt::Display for DiskErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, errno)| errno == self);
        f.write_str(word.map_or("?", |(word, _)| word))
    }
}

/// Each operation by its name.
pub const DISK_OPERATIONS: [(&str, Operation); 7] = [
    ("read", Operation::Read),
    ("write", Operation::Write),
    ("open-for-writing", Operation::Open),
    ("create", Operation::Create),
    ("remove", Operation::Remove),
    ("rename", Operation::Rename),
    ("attributes", Operation::Attributes),
];

/// The name of an operation.
pub fn operation_name(operation: Operation) -> &'static str {
    let named = DISK_OPERATIONS.iter().find(|(_, one)| *one == operation);
    named.map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_name() {
        for operation in Operation::ALL {
            assert_ne!(operation_name(operation), "?");
        }
        for (word, errno) in DiskErrno::WORDS {
            assert_eq!(errno.to_string(), word);
            assert!(!errno.operations().is_empty());
        }
    }

    #[test]
    fn a_full_disk_can_be_read_and_cleared_and_a_read_only_one_read() {
        let full = DiskErrno::NoSpace.operations();
        assert!(!full.contains(&Operation::Read) && !full.contains(&Operation::Remove));
        assert!(!DiskErrno::ReadOnly.operations().contains(&Operation::Read));
        assert!(DiskErrno::Failure.operations().contains(&Operation::Read));
    }
}
