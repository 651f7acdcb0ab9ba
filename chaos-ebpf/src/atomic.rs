//! Atomic operations whose result is used, as the very instructions.
//!
//! Rust offers none on this target, and LLVM's lowering of them has lost results (llvm#210280).
//! Both instructions exist since Linux 5.12.

use core::arch::asm;

/// Adds `value` and returns what was there before.
///
/// # Safety
/// `place` must point to eight aligned bytes of map memory.
#[inline(always)]
pub unsafe fn fetch_add(place: *mut u64, value: u64) -> u64 {
    let mut result = value;
    // SAFETY: the caller vouches for the memory.
    unsafe {
        asm!(
            "{result} = atomic_fetch_add((u64 *)({place} + 0), {result})",
            place = in(reg) place,
            result = inout(reg) result,
        );
    }
    result
}

/// Writes `new` if `expected` is there; returns what was there before.
///
/// # Safety
/// `place` must point to eight aligned bytes of map memory.
#[inline(always)]
pub unsafe fn compare_exchange(place: *mut u64, expected: u64, new: u64) -> u64 {
    let mut result = expected;
    // SAFETY: the caller vouches for the memory.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {new})",
            place = in(reg) place,
            new = in(reg) new,
            inout("r0") result,
        );
    }
    result
}
