//! A filesystem that fails: operations on it return an error, to everybody or to one cgroup.
//!
//! LSM programs answer in place of the filesystem. They are held by links, which the kernel takes away
//! when this process ends in any way, so there is nothing to undo; until then the deadline and the
//! lease bind them as they bind rules for packets.

mod active;
mod error;
mod filesystem;

pub use active::{ActiveDiskError, DiskError, DiskErrorEvidence};
pub use error::DiskErrorError;
