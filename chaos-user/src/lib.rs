//! Kernel-level fault injection for Linux.

pub mod kernel;
