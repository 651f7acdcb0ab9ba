//! Quantities as people write them, parsed strictly.
//!
//! Every type here has one text form: `FromStr` reads it, `Display` writes it back so that it
//! reads again as the same value, and serde uses that form in YAML and JSON. A quantity without
//! its unit is refused, because `10` has been read as ten per cent, ten bits and ten seconds by
//! one tool or another. Errors say what was given, why it does not do, and what would.

mod bytes;
mod decimal;
mod direction;
mod error;
mod percent;
mod ports;
mod prefix;
mod protocol;
mod rate;
mod span;
mod text;

pub use bytes::Bytes;
pub use direction::Direction;
pub use error::UnitError;
pub use percent::Percent;
pub use ports::PortRange;
pub use prefix::Prefix;
pub use protocol::Protocol;
pub use rate::Rate;
pub use span::Span;
pub use text::nearest;
