//! Queueing disciplines: what to install, installing it, proving it, and putting back what was there.
//!
//! - [`codec`]: the bytes of `TCA_OPTIONS`, both ways.
//! - [`QdiscSpec`], [`ClassSpec`]: what somebody wants, validated, with every attribute spelt out
//!   (a kernel merges what it is sent with what it has), and the comparison with what a dump says.
//! - [`TcSocket`]: add, replace, change, delete and dump in the namespace of the thread that opened
//!   it; every write is read back.
//! - [`RootQdisc`]: all that is queued on one device, as a record that can be stored and put back.
//! - [`DetourTree`]: one classful root with a netem leaf for each distinct setting.
//! - [`DistributionTable`]: delay distributions in the form netem takes them.

pub mod codec;

mod compare;
mod distribution;
mod error;
mod handle;
mod not_restorable;
mod ops;
mod record;
mod rehearsal;
mod repeat;
mod restore;
mod snapshot;
mod socket;
mod spec;
mod tree;
mod units;

pub use self::compare::{Mismatch, ReadBack, Unconfirmed};
pub use self::distribution::{
    DistributionError, DistributionTable, MAX_ENTRIES, SCALE, TABLE_ENTRIES,
};
pub use self::error::{Operation, QdiscError, Target};
pub use self::handle::Handle;
pub use self::not_restorable::NotRestorable;
pub use self::ops::{Applied, Place};
pub use self::record::{Counters, TcRecord};
pub use self::restore::RestoreError;
pub use self::snapshot::{Restore, RootQdisc, StoredClass, StoredQdisc};
pub use self::socket::TcSocket;
#[doc(hidden)]
pub use self::socket::fuzz;
pub use self::spec::{
    Chance, ClassSpec, Distribution, HtbClass, HtbQdisc, InvalidQdisc, Loss, Netem, NetemRate,
    PeakRate, Prio, QdiscSpec, Reorder, Slot, SlotSpacing, Tbf, Write,
};
pub use self::tree::{DetourTree, Steering, TreeError};
pub use self::units::{Probability, TICK_NS, nanoseconds, ticks};
