//! Test VMs: stock Debian kernels under QEMU, an initramfs with static programs, a report on a
//! serial port of its own.

mod archive;
mod catalogue;
mod cpio;
mod image;
mod kernel;
mod machine;
mod modules;
mod peers;
mod qemu;
mod report;

pub(crate) use catalogue::{Catalogue, KernelEntry};
pub(crate) use image::Image;
pub(crate) use kernel::Kernel;
pub(crate) use machine::{Accelerator, Console, Machine, processors};
pub(crate) use peers::Peers;
pub(crate) use qemu::Qemu;
