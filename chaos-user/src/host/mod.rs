//! What this machine is and can do, found out by asking and probing, never by version alone.

mod cgroup;
mod clock;
mod ssh;

pub use cgroup::{CgroupError, Cgroups};
pub use clock::boot_time;
pub use ssh::{SshSession, operator_sessions};
