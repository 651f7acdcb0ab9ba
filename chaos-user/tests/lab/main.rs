//! Labs on a real kernel: traffic, names, processes, and nothing left behind. Needs root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod command;
mod processes;
#[path = "../support/slowness.rs"]
mod slowness;
mod support;
mod teardown;
mod traffic;
