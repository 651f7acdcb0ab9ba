//! The tests that need privileges: built once as static programs, run on the host and in VMs.

mod artifacts;
mod build;
mod features;
mod judge;
mod kernel_config;

pub(crate) use artifacts::executables;
pub(crate) use build::{
    Programs, build_lab_binaries, build_programs, build_static_benchmark, build_static_binaries,
    integration_tests_outside, static_cargo,
};
pub(crate) use features::{Features, Presence};
pub(crate) use judge::judge;
pub(crate) use kernel_config::KernelConfig;
