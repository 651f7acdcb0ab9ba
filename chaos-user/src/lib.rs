//! Kernel-level fault injection for Linux.
//!
//! The map of the code, from what the user wrote to what the kernel did:
//! `experiment` (parsed) → `plan` (rules as data) → `fault` (started, proven, healed) →
//! `kernel` (the only place that touches it).

pub mod cli;
pub mod exit;
pub mod experiment;
pub mod fault;
#[doc(hidden)]
pub mod fuzz;
pub mod guard;
pub mod history;
pub mod host;
pub mod kernel;
pub mod lab;
pub mod plan;
pub mod probe;
pub mod report;
pub mod respond;
pub mod run;
pub mod target;
pub mod verdict;
pub mod workload;
