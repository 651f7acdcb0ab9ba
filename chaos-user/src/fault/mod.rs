//! Faults: started, proven to act, and put back.
//!
//! [`Session::start`] turns [`NetworkFault`]s into an [`Active`] session: everything is resolved and
//! checked, the undo records are on disk, programs are attached and read back, and then all rules
//! come into force with one store per namespace. The kernel ends each rule at its deadline, and all
//! rules when the lease runs out; [`Active::heal`] (or dropping it) takes everything away.

mod descriptors;
mod detour;
mod disk_error;
mod disk_fill;
mod error;
mod evidence;
mod guardian;
mod harm;
mod journal;
mod lease;
mod lockout;
mod network;
mod precious;
mod pressure;
mod protect;
mod ramp;
mod recover;
mod root_netem;
mod scope;
mod service;
mod undo;
mod whole_device;

pub use descriptors::{ActiveDescriptors, DescriptorsError, DescriptorsEvidence};
pub use detour::{
    Backend, DetourError, Detours, HeldCounters, LineOptions, MeasuredDelay, doubt, proven,
};
pub use disk_error::{ActiveDiskError, DiskError, DiskErrorError, DiskErrorEvidence};
pub use disk_fill::{ActiveDiskFill, DiskFill, DiskFillError, FillEvidence};
pub use error::FaultError;
pub use evidence::{Fault, RuleEvidence};
pub use guardian::guard;
#[doc(hidden)]
pub use journal::fuzz as fuzz_journal;
pub use journal::{
    ActiveFault, ActiveRule, Busy, Entry, Holder, Journal, JournalError, NetnsRef, Record,
    RunScope, RunState, ScopeError, ScopeLock, Sharing, runs,
};
pub use lockout::{Harm, LockedOut, WayIn, check_device, check_processes, ways_in};
#[doc(hidden)]
pub use network::end as event_end;
pub use network::{Active, NetworkFault, Session};
pub use pressure::{ActivePressure, CgroupPressure, PressureError, PressureEvidence};
pub use protect::protection;
pub use recover::{HealReport, Live, heal_runs, leftovers, live_counters};
pub use root_netem::{ActiveRootNetem, RootNetem, RootNetemError, RootNetemHealed, RootNetemUndo};
pub use scope::{Preview, default_devices, preview};
pub use service::{ActiveService, ServiceFaultError};
pub use undo::{
    CgroupUndo, DescriptorsUndo, FillUndo, FilterUndo, LabUndo, LinkUndo, PausedUndo,
    RootNetemRecord, ServiceUndo, SysctlUndo, Undo, UndoError, Undone,
};
pub use whole_device::{ActiveWholeDevice, NetemCounts, WholeDevice};
