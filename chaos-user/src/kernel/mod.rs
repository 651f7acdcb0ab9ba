//! What speaks to the kernel, one folder per interface.

pub mod netlink;
pub mod netns;
