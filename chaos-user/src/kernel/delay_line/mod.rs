//! The userspace delay line: packets leave the kernel through a TAP, are held until their time,
//! and go back the same way.
//!
//! The core decides and holds, without IO and without a clock: [`Emulator`] (one slot's latency,
//! jitter, rate, order), [`Wheel`] (exact deadlines), [`Line`] (all slots, bounded memory).

mod distribution;
mod emulator;
mod evidence;
mod line;
mod random;
mod setting;
mod shaper;
mod wheel;

pub use distribution::{Distribution, MAX_TABLE_ENTRIES};
pub use emulator::{Arrival, Decision, Emulator};
pub use evidence::{Counters, Durations, Evidence, LATE_AFTER};
pub use line::{Due, Line, Offer, Slot};
pub use random::{Draws, Purpose};
pub use setting::{InvalidSetting, MAX_DELAY, Order, Overflow, Rate, Reorder, Setting};
pub use wheel::Wheel;
