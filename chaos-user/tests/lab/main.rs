//! Labs on a real kernel: traffic, names, processes, and nothing left behind. Needs root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod command;
mod processes;
mod support;
mod teardown;
mod traffic;
