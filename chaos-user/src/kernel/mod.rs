//! What speaks to the kernel, one folder per interface.

pub mod bpf;
pub mod netlink;
pub mod netns;
