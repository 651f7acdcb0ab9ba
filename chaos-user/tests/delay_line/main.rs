//! The delay line with real traffic. Needs root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod bed;
mod bursts;
mod failure;
mod precision;
mod streams;
