//! The clock that deadlines are in.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in ns: what `bpf_ktime_get_boot_ns` returns. It counts suspended time, so a fault
/// does not outlive its deadline because a laptop slept.
pub fn boot_time() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(u64::MAX, |now| now.num_nanoseconds() as u64)
}

/// The kernel's name for the time since the machine was booted; `None` where /proc does not tell.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
