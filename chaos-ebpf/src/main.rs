//! The kernel side of chaos.
#![no_std]
#![no_main]
#![allow(unsafe_code)]
use aya_ebpf::{macros::classifier, programs::TcContext};

/// Passes everything.
#[classifier]
pub fn empty(_ctx: TcContext) -> i32 {
    -1
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
