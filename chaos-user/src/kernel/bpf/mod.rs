//! The only place that speaks bpf(2): the object, its maps, where it is attached, what it counts.

mod attach;
mod btf;
mod counters;
mod delays;
mod departures;
mod detour;
mod disk;
mod error;
mod events;
mod object;
mod slab;
mod trace;

pub use attach::{Attached, CgroupProgram, Device, Filter, HookPoint, Mechanism, TcProgram};
pub use counters::{Counters, HookSnapshot};
pub use delays::HeldTimes;
pub use departures::{Departures, QueueDepartures};
pub use detour::{DetourAt, DetourVia};
pub use disk::{DiskObject, lsm_asks};
pub use error::BpfError;
pub use events::EventStream;
pub use object::{LeaseHandle, Object, ServingRules, Sizes};
pub use trace::Trace;
