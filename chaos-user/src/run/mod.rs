//! The conductor: runs an experiment, and records everything that happens in one ordered log.
//!
//! [`conduct`] does things through a [`World`] and writes [`Event`]s; verdict and reports are
//! computed from those alone.

mod clock;
mod conductor;
mod containers;
mod continuous;
mod descriptors;
mod disk_error;
mod disk_fill;
mod event;
mod folder;
mod group;
mod hide;
mod introduction;
mod lab;
mod log;
mod logs;
mod namespaces;
mod netem;
mod network;
mod performed;
mod pressure;
mod process;
mod recovery;
mod safeguard;
mod service;
mod signals;
mod values;
mod workload;
mod world;
mod written;

#[cfg(test)]
mod tests;

pub use clock::{Clock, SystemClock};
pub use conductor::{Options, conduct};
pub use event::{
    Ended, Event, FORMAT, FaultInfo, Healed, LogLine, Logged, ProbeResult, ProbeSpec, Role,
    RuleText, RunInfo, What,
};
pub use folder::{FolderError, RunFolder};
pub use lab::LabWorld;
pub use log::{EventLog, Observer, ReadError, read_log};
pub use logs::LogFile;
pub use namespaces::{Namespaces, NamespacesError};
pub use signals::Interrupt;
pub use values::{ValueError, Values};
pub use world::{ActiveFault, Outcome, Proof, Trouble, World};
