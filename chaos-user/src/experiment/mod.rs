//! What the user wrote: the experiment format, its units, and errors that say where.
//!
//! [`Experiment::parse`] reads YAML or JSON. The format is a superset of the Chaos Toolkit's, so
//! an experiment written for it with `http` and `process` providers reads unchanged. Nothing in
//! here reads a clock, a network or an environment; the only input is the text of a file.

mod activity;
mod bounds;
mod check;
mod document;
mod error;
mod fault;
mod model;
mod observe;
mod operations;
mod pressure;
mod provider;
mod redact;
mod references;
mod scaffold;
mod schema;
mod secret_forms;
mod service;
mod subject;
mod tolerance;
pub mod units;
mod variables;
mod workload;
mod workload_document;
pub(crate) mod yaml;

#[cfg(test)]
mod tests;

pub use activity::{Activity, Kind, Pauses, Phase, Phases};
pub use bounds::{Bounds, Growth};
pub use error::{ExperimentError, Place, Problem};
pub use fault::{
    Behavior, CgroupName, DetourSpec, DiskErrorSpec, DiskFillSpec, DiskPlace, FaultSpec, FaultWork,
    NetemSpec, NetworkSpec, ProcessAct, Target,
};
pub use model::{Experiment, Hypothesis, HypothesisStrategy, Recovery, RollbackStrategy, Runtime};
pub use observe::{
    DnsCall, Family, LogCall, LogSource, MetricsCall, Pattern, PrometheusCall, Since,
};
pub use operations::{Operations, Within};
pub use pressure::{Confined, PressureSpec};
pub use provider::{Arguments, HttpCall, ProcessCall, Provider, TcpCall};
pub use redact::Redactor;
pub use scaffold::{Service, scaffold};
pub use schema::schema;
pub use service::Supervised;
pub use subject::{DescriptorsSpec, Subject};
pub use tolerance::{FIRST, Observation, Tolerance};
pub use units::{Bytes, Direction, Percent, PortRange, Prefix, Protocol, Rate, Span, UnitError};
pub use variables::Variables;
pub use workload::{Pace, Payloads, SavedPath, Step, WorkloadSpec};
