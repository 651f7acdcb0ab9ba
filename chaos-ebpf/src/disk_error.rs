//! Filesystems that fail: LSM hooks whose return value is what the system call returns.
//!
//! An object of its own, because kernels without the LSM refuse these programs, and their other half,
//! the classifiers, has to work there. Where the fields of the kernel's structures are differs
//! between kernels: the controller reads it from the kernel's BTF, and the verifier checks it.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(clippy::inline_always, reason = "the verifier's limits decide what is a call")]
#![expect(clippy::cast_lossless, reason = "`as` is one instruction, and every width is in sight")]
#![expect(clippy::needless_pass_by_value, reason = "the program macros pass contexts by value")]
#![expect(unsafe_code, reason = "kernel helpers and structures are raw pointers")]
#![expect(unreachable_pub, reason = "programs must be visible to the linker")]
#![expect(
    missing_docs,
    reason = "the program macros repeat each function without its documentation"
)]

#[expect(dead_code, reason = "the classifiers need more of it")]
mod atomic;

use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, bpf_pidns_info};
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_ns_current_pid_tgid,
};
use aya_ebpf::macros::{lsm, map};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::LsmContext;
use chaos_common::control::{Control, state};
use chaos_common::decide::stateless;
use chaos_common::disk::{DiskCounters, DiskFault, OPERATIONS, Operation};

#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static FAULT: Array<DiskFault> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The number of the next decision.
#[map]
static SEQUENCE: Array<u64> = Array::with_max_entries(1, 0);

#[map]
static COUNTERS: PerCpuArray<DiskCounters> = PerCpuArray::with_max_entries(OPERATIONS as u32, 0);

/// Offsets in bytes, set by the controller: `file.f_mode`.
#[unsafe(no_mangle)]
static FILE_MODE: u32 = 0;
/// `file.f_inode`.
#[unsafe(no_mangle)]
static FILE_INODE: u32 = 0;
/// `inode.i_mode`.
#[unsafe(no_mangle)]
static INODE_MODE: u32 = 0;
/// `inode.i_sb`.
#[unsafe(no_mangle)]
static INODE_SUPERBLOCK: u32 = 0;
/// `dentry.d_sb`.
#[unsafe(no_mangle)]
static DENTRY_SUPERBLOCK: u32 = 0;
/// `super_block.s_dev`.
#[unsafe(no_mangle)]
static SUPERBLOCK_DEVICE: u32 = 0;
/// What the system call returns, negative. The verifier wants to know its range, and knows that of a
/// constant alone.
#[unsafe(no_mangle)]
static ANSWER: i32 = 0;

/// Go on.
const PASS: i32 = 0;

/// include/linux/fs.h, unchanged since 2.6.
const MAY_WRITE: i32 = 2;
const MAY_READ: i32 = 4;
const FMODE_WRITE: u32 = 2;
/// include/uapi/linux/stat.h.
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;
const S_IFDIR: u16 = 0o040_000;

/// A structure of the kernel.
type Kernel = *const u8;

/// Reading and writing, fallocate(2), and reading a directory.
#[lsm(hook = "file_permission")]
pub fn chaos_disk_access(ctx: LsmContext) -> i32 {
    let mask: i32 = ctx.arg(1);
    let operation = if mask & MAY_WRITE != 0 {
        Operation::Write
    } else if mask & MAY_READ != 0 {
        Operation::Read
    } else {
        return PASS;
    };
    of_file(operation, ctx.arg(0))
}

/// Opening, after the file was found or made, and before it is cut to nothing.
#[lsm(hook = "file_open")]
pub fn chaos_disk_open(ctx: LsmContext) -> i32 {
    let file: Kernel = ctx.arg(0);
    if field::<u32>(file, &FILE_MODE) & FMODE_WRITE == 0 {
        return PASS;
    }
    of_file(Operation::Open, file)
}

#[lsm(hook = "inode_create")]
pub fn chaos_disk_create(ctx: LsmContext) -> i32 {
    of_folder(Operation::Create, ctx.arg(0))
}

#[lsm(hook = "inode_mkdir")]
pub fn chaos_disk_mkdir(ctx: LsmContext) -> i32 {
    of_folder(Operation::Create, ctx.arg(0))
}

#[lsm(hook = "inode_mknod")]
pub fn chaos_disk_mknod(ctx: LsmContext) -> i32 {
    of_folder(Operation::Create, ctx.arg(0))
}

#[lsm(hook = "inode_symlink")]
pub fn chaos_disk_symlink(ctx: LsmContext) -> i32 {
    of_folder(Operation::Create, ctx.arg(0))
}

/// Its first argument is the old name.
#[lsm(hook = "inode_link")]
pub fn chaos_disk_link(ctx: LsmContext) -> i32 {
    of_folder(Operation::Create, ctx.arg(1))
}

#[lsm(hook = "inode_unlink")]
pub fn chaos_disk_unlink(ctx: LsmContext) -> i32 {
    of_folder(Operation::Remove, ctx.arg(0))
}

#[lsm(hook = "inode_rmdir")]
pub fn chaos_disk_rmdir(ctx: LsmContext) -> i32 {
    of_folder(Operation::Remove, ctx.arg(0))
}

#[lsm(hook = "inode_rename")]
pub fn chaos_disk_rename(ctx: LsmContext) -> i32 {
    of_folder(Operation::Rename, ctx.arg(0))
}

/// Before Linux 6.9 the hook has two arguments.
#[lsm(hook = "inode_setattr")]
pub fn chaos_disk_setattr2(ctx: LsmContext) -> i32 {
    of_name(Operation::Attributes, ctx.arg(0))
}

/// From Linux 6.9 on the mount's id map comes first.
#[lsm(hook = "inode_setattr")]
pub fn chaos_disk_setattr3(ctx: LsmContext) -> i32 {
    of_name(Operation::Attributes, ctx.arg(1))
}

/// Pipes, sockets and devices have their name on a filesystem and nothing else.
#[inline(always)]
fn of_file(operation: Operation, file: Kernel) -> i32 {
    let inode: Kernel = field(file, &FILE_INODE);
    let kind = field::<u16>(inode, &INODE_MODE) & S_IFMT;
    if kind != S_IFREG && kind != S_IFDIR {
        return PASS;
    }
    of_filesystem(operation, field(inode, &INODE_SUPERBLOCK))
}

#[inline(always)]
fn of_folder(operation: Operation, inode: Kernel) -> i32 {
    of_filesystem(operation, field(inode, &INODE_SUPERBLOCK))
}

#[inline(always)]
fn of_name(operation: Operation, dentry: Kernel) -> i32 {
    of_filesystem(operation, field(dentry, &DENTRY_SUPERBLOCK))
}

#[inline(always)]
fn of_filesystem(operation: Operation, superblock: Kernel) -> i32 {
    let Some(control) = CONTROL.get(0) else { return PASS };
    // SAFETY: map memory that the controller writes with single stores.
    let (armed, lease) = unsafe {
        (read_volatile(&raw const control.state), read_volatile(&raw const control.lease))
    };
    if armed == state::DISARMED {
        return PASS;
    }
    let Some(counters) = COUNTERS.get_ptr_mut(operation as u32) else { return PASS };
    let Some(fault) = FAULT.get(0) else { return PASS };
    // SAFETY: fields of map memory of this CPU. Programs here can be preempted by others, so that
    // counting takes an atomic instruction.
    unsafe { count(&raw mut (*counters).seen) };
    if fault.operations & operation.bit() == 0
        || field::<u32>(superblock, &SUPERBLOCK_DEVICE) != fault.device
        || !of_cgroup(fault)
        || is_exempt(fault)
    {
        return PASS;
    }
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if now < fault.rule.not_before || now >= fault.rule.not_after {
        return PASS;
    }
    // SAFETY: as above.
    unsafe { count(&raw mut (*counters).matched) };
    if now >= lease {
        // SAFETY: as above.
        unsafe { count(&raw mut (*counters).lease_expired) };
        return PASS;
    }
    if chaos_disk_decide(0) == 0 {
        return PASS;
    }
    // SAFETY: as above; the answer is never written while the program is loaded.
    unsafe {
        count(&raw mut (*counters).acted);
        read_volatile(&raw const ANSWER)
    }
}

#[inline(always)]
fn of_cgroup(fault: &DiskFault) -> bool {
    // SAFETY: takes no pointer.
    fault.cgroup == 0
        || unsafe { bpf_get_current_ancestor_cgroup_id(fault.level.cast_signed()) } == fault.cgroup
}

/// Whoever ends the fault and writes down what happened must be able to.
#[inline(always)]
fn is_exempt(fault: &DiskFault) -> bool {
    let mut ids = MaybeUninit::<bpf_pidns_info>::zeroed();
    let [device, inode] = fault.pidns;
    let size = size_of::<bpf_pidns_info>() as u32;
    // SAFETY: the helper writes no more than it is told; zeroes are a valid value.
    unsafe {
        bpf_get_ns_current_pid_tgid(device, inode, ids.as_mut_ptr(), size) == 0
            && ids.assume_init().tgid == fault.exempt
    }
}

/// 1 if the next operation that matches is to fail. A function of its own to the verifier, which
/// checks it once instead of on every path that leads to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_disk_decide(at: u32) -> u32 {
    let (Some(fault), Some(sequence)) = (FAULT.get(at), SEQUENCE.get_ptr_mut(at)) else { return 0 };
    // SAFETY: map memory, aligned to eight bytes.
    let n = unsafe { atomic::fetch_add(sequence, 1) };
    stateless(&fault.rule, n) as u32
}

/// A field of a structure of the kernel.
#[inline(always)]
fn field<T: Copy>(base: Kernel, offset: &'static u32) -> T {
    // SAFETY: the verifier lets only pointers to kernel structures and offsets of their fields
    // pass, and the kernel turns a fault on such a load into a zero.
    unsafe { read_volatile(base.add(read_volatile(offset) as usize).cast::<T>()) }
}

/// # Safety
/// `place` must point to eight aligned bytes of map memory.
#[inline(always)]
unsafe fn count(place: *mut u64) {
    // SAFETY: the caller vouches for the memory.
    unsafe { atomic::fetch_add(place, 1) };
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses programs in which this can be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
