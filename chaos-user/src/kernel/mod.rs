//! What speaks to the kernel, one folder per interface.

pub mod bpf;
pub mod delay_line;
pub mod netlink;
pub mod netns;
