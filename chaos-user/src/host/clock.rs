//! The clock that deadlines are in.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in ns: what `bpf_ktime_get_boot_ns` returns. It counts suspended time, so a fault
/// does not outlive its deadline because a laptop slept.
pub fn boot_time() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(u64::MAX, |now| now.num_nanoseconds() as u64)
}
