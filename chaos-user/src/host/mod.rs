//! What this machine is and can do, found out by asking and probing, never by version alone.

mod block;
mod capability;
mod cgroup;
mod cgroup_file;
mod clock;
mod controller;
mod descriptors;
mod feature;
mod input;
mod policy;
mod privilege;
mod process_id;
mod ssh;

pub use block::{BlockError, disk_of};
pub use capability::{MissingCapabilities, capabilities, check_capabilities};
pub use cgroup::{CgroupError, Cgroups};
pub use cgroup_file::{CgroupLimit, is_gone};
pub use clock::{boot_id, boot_time};
pub use controller::ControllerError;
pub use descriptors::{DescriptorLimit, descriptors, limit_with_room};
pub use feature::{Feature, Support, features, netem};
pub use input::read_text;
pub use policy::{POLICY, POLICY_VARIABLE, PolicyError, approval, policies};
pub use privilege::{Privilege, keep_only};
pub use process_id::ProcessId;
pub use ssh::{SshSession, ancestors, operator_sessions};
