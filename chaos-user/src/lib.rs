//! Kernel-level fault injection for Linux.

pub mod kernel;
pub mod lab;
pub mod target;
