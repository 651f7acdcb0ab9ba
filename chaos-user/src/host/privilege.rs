//! Capabilities that a command does not need are given up as soon as it is known.
//!
//! The set that programs started from here may gain (the bounding set) stays: what a user names in an
//! experiment runs as that user asked.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// How much a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It reads files and prints.
    Reading,
    /// It injects and takes back.
    Working,
}

/// For what users keep in folders of their own.
const READING: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH];

/// Never given up while something may have to be taken back. SECURITY.md says which fault needs what.
const WORKING: [Capability; 22] = [
    Capability::CAP_BPF,
    Capability::CAP_CHECKPOINT_RESTORE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_PERFMON,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_TIME,
];

/// Gives up everything else, for this thread and those that it starts. Only what is there can stay.
pub fn keep_only(privilege: Privilege) -> Result<(), CapsError> {
    let wanted: CapsHashSet = match privilege {
        Privilege::Reading => READING.into_iter().collect(),
        Privilege::Working => WORKING.into_iter().collect(),
    };
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = permitted.intersection(&wanted).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)
}
