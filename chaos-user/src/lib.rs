//! Kernel-level fault injection for Linux.

pub mod experiment;
