//! The userspace delay line: packets leave the kernel through a TAP, are held until their time,
//! and go back the same way.
//!
//! The core decides and holds, without IO and without a clock: [`Emulator`] (one slot's latency,
//! jitter, rate, order), [`Wheel`] (exact deadlines), [`Line`] (all slots, bounded memory).
//!
//! The edge is one TAP device and one thread: [`DelayLine`]. The contract with the programs in the
//! kernel:
//!
//! - A packet enters by a push of an 802.1Q tag whose VLAN identifier is its [`Slot`], and a
//!   redirect to the TAP's egress. The tag survives segmentation offload, and one device serves
//!   every slot of a namespace, whichever devices and directions they belong to.
//! - A second tag after it can carry a number, which a bit of the first announces: the time at which
//!   the packet left is under that number in the object's [`Departures`](crate::kernel::bpf::Departures).
//! - It comes back, unchanged and still tagged, at the TAP's ingress. A program there pops the tag,
//!   marks the packet, and redirects it to the egress or the ingress of the slot's device, where
//!   the mark lets it pass.
//! - A packet without a tag, or with a slot that was never set, is dropped and counted as a stray.
//! - When the worker stalls or ends, its [`Heartbeat`] stops. Whoever renews the lease that the
//!   redirecting program checks must look at it.

mod distribution;
mod emulator;
mod error;
mod evidence;
mod frame;
mod handle;
mod line;
mod outbox;
mod pace;
mod packet;
mod random;
mod ring;
mod setting;
mod shaper;
mod tap;
mod wheel;
mod worker;

pub use distribution::{Distribution, MAX_TABLE_ENTRIES};
pub use emulator::{Arrival, Decision, Emulator};
pub use error::DelayLineError;
pub use evidence::{Counters, Durations, Evidence, LATE_AFTER};
pub use handle::{Config, DelayLine, Heartbeat, Parallel, Status};
pub use line::{Due, Line, Offer, Slot};
pub use pace::Scheduling;
pub use random::{Draws, Purpose};
pub use setting::{InvalidSetting, MAX_DELAY, Order, Overflow, Rate, Reorder, Setting};
pub use tap::{Segmentation, check_tun};
pub use wheel::Wheel;
