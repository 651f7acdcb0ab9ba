//! What a fault means, as pure data: no IO, no clock.
//!
//! A [`Rule`] is a [`Selector`] (all parts AND) and an [`Action`]. [`compile()`] turns rules into the
//! tables that the classifier searches.

mod cgroup_limit;
mod change;
mod compile;
mod disk_error;
mod fill;
pub mod growth;
mod held_back;
mod impairment;
mod masks;
mod protect;
mod rule;
mod selector;

pub use cgroup_limit::{Cpus, IoMax, MemoryHigh, Pressure, limit_in};
pub use change::{Checksum, Corrupt, Detour, Duplicate, Police};
pub use compile::{CompileError, Compiled, MAX_KEYS, Request, Tables, compile};
pub use disk_error::{DISK_OPERATIONS, DiskErrno, operation_name};
pub use fill::{FillLevel, Room};
pub use held_back::{CountFiles, Counted};
pub use impairment::{Bottleneck, Impairment, Overtake};
pub(crate) use protect::protecting;
pub use protect::{ENDPOINTS, Endpoint, Protect};
pub use rule::fraction as share_of_flows;
pub use rule::{Action, Answer, Errno, Loss, Reject, Rule, RuleError, UnknownErrno};
pub use selector::{CgroupRef, Connections, Selector};
