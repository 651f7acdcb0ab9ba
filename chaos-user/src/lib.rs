//! Kernel-level fault injection for Linux.
