//! What the user wrote: the experiment format, its units, and errors that say where.
//!
//! Nothing in here reads a clock, a network or an environment; the only input is the text of an
//! experiment file.

pub mod units;

pub use units::{Direction, Percent, PortRange, Prefix, Protocol, Rate, Span, UnitError};
