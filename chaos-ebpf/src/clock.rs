//! What time it is, without reading the clock for every packet: that costs more than finding the
//! rules. The kernel's tick counter is one load; as long as it stands still, the last reading is
//! less than a tick old, or a few where ticks come late: a virtual machine's processor may not run
//! for a while. Only moments nearer than that need a reading of their own.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

/// Twenty of the longest ticks that kernels are built with (HZ = 100), in ns.
const NEAR: u64 = 20 * 10_000_000;

/// A reading, and the tick that it was made in.
#[derive(Clone, Copy)]
#[repr(C)]
struct Reading {
    tick: u64,
    time: u64,
}

#[map]
static CLOCK: PerCpuArray<Reading> = PerCpuArray::with_max_entries(1, 0);

/// The present, CLOCK_BOOTTIME in ns: this, or a little later.
#[derive(Clone, Copy)]
pub struct Now(u64);

impl Now {
    /// The present as far as it is known cheaply.
    #[inline(always)]
    pub fn get() -> Self {
        let Some(reading) = CLOCK.get_ptr_mut(0) else { return Self(exact()) };
        // SAFETY: per-CPU memory.
        let reading = unsafe { &mut *reading };
        // SAFETY: takes no argument.
        let tick = unsafe { bpf_jiffies64() };
        if reading.tick != tick {
            *reading = Reading { tick, time: exact() };
        }
        Self(reading.time)
    }

    /// Whether `moment` has come.
    #[inline(always)]
    pub fn reached(self, moment: u64) -> bool {
        moment <= self.0 || (moment <= self.0 + NEAR && moment <= exact())
    }
}

/// CLOCK_BOOTTIME in ns.
#[inline(always)]
pub fn exact() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}
