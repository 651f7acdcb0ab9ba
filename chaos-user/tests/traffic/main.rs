//! Faults on real traffic between two namespaces: what is chosen is hit, nothing else loses
//! anything, and everything ends as promised. Needs root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod cgroups;
mod corruption;
mod delay_line;
mod detours;
mod drops;
mod duplicates;
mod endings;
mod held;
mod net;
mod policing;
mod protected;
mod refusals;
mod roles;
#[path = "../support/mod.rs"]
mod support;
