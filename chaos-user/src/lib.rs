//! Kernel-level fault injection for Linux.

pub mod experiment;
pub mod kernel;
