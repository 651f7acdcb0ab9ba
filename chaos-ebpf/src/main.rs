//! The kernel side of chaos: programs that do what their maps say and nothing more. What a packet
//! meets, in order: is anything armed (one load)? is it IP, and not neighbour discovery? which
//! rules match (flow cache, else tuple-space search)? is the lease fresh, the rule in its time
//! window, and does its seeded decision say so? then the action.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(clippy::inline_always, reason = "the verifier's limits decide what is a call")]
#![expect(clippy::cast_lossless, reason = "`as` is one instruction, and every width is in sight")]
#![expect(clippy::needless_pass_by_value, reason = "the program macros pass contexts by value")]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key by value is a copy on a small stack"
)]
#![expect(unsafe_code, reason = "kernel helpers and packet memory are raw pointers")]
#![expect(unreachable_pub, reason = "programs must be visible to the linker")]
#![expect(
    missing_docs,
    reason = "the program macros repeat each function without its documentation"
)]

mod act;
mod atomic;
mod back;
mod change;
mod classify;
mod clock;
mod connect;
mod corrupt;
mod decide;
mod event;
mod maps;
mod number;
mod packet;
mod reject;
mod timing;
mod trace;

use aya_ebpf::macros::{cgroup_skb, cgroup_sock_addr, classifier, socket_filter};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, TcContext};
use chaos_common::Hook;
use packet::Link;

/// Measures what attaching any program costs: the baseline of the benchmarks.
#[classifier]
pub fn chaos_empty(_ctx: TcContext) -> i32 {
    act::TC_NEXT
}

/// Finds a packet's rule and leaves it at that: what a flow cache miss cannot do without.
#[classifier]
pub fn chaos_lookup(ctx: TcContext) -> i32 {
    act::lookup(ctx.skb.skb)
}

/// Leaving through a device with Ethernet headers (loopback included).
#[classifier]
pub fn chaos_egress(ctx: TcContext) -> i32 {
    act::tc(ctx.skb.skb, Link::Ethernet, Hook::Egress)
}

/// Arriving through a device with Ethernet headers.
#[classifier]
pub fn chaos_ingress(ctx: TcContext) -> i32 {
    act::tc(ctx.skb.skb, Link::Ethernet, Hook::Ingress)
}

/// Leaving through a device without link-layer headers (tun, WireGuard).
#[classifier]
pub fn chaos_egress_l3(ctx: TcContext) -> i32 {
    act::tc(ctx.skb.skb, Link::None, Hook::Egress)
}

/// Arriving through a device without link-layer headers.
#[classifier]
pub fn chaos_ingress_l3(ctx: TcContext) -> i32 {
    act::tc(ctx.skb.skb, Link::None, Hook::Ingress)
}

/// Arriving at the far side of a detour: packets that were held, on their way back.
#[classifier]
pub fn chaos_give_back(ctx: TcContext) -> i32 {
    back::give(ctx.skb.skb)
}

/// About to wait in a TAP of several queues: all packets of a slot wait in one, or their order and their
/// rate would be lost.
#[socket_filter]
pub fn chaos_steer(ctx: SkBuffContext) -> i64 {
    // SAFETY: the kernel hands every program a valid context.
    i64::from(unsafe { (*ctx.skb.skb).vlan_tci } & 0xfff)
}

/// About to be delivered to a socket of a cgroup. Outgoing packets of a cgroup are recognised at
/// tc egress, because a drop here would be an error code to the sender, and no network does that.
#[cgroup_skb]
pub fn chaos_cgroup_ingress(ctx: SkBuffContext) -> i32 {
    act::cgroup_ingress(ctx.skb.skb)
}

/// A process connects over IPv4.
#[cgroup_sock_addr(connect4)]
pub fn chaos_connect4(ctx: SockAddrContext) -> i32 {
    connect::call(ctx.sock_addr, 4)
}

/// A process connects over IPv6.
#[cgroup_sock_addr(connect6)]
pub fn chaos_connect6(ctx: SockAddrContext) -> i32 {
    connect::call(ctx.sock_addr, 6)
}

/// A process sends from an unconnected UDP socket over IPv4.
#[cgroup_sock_addr(sendmsg4)]
pub fn chaos_sendmsg4(ctx: SockAddrContext) -> i32 {
    connect::call(ctx.sock_addr, 4)
}

/// A process sends from an unconnected UDP socket over IPv6.
#[cgroup_sock_addr(sendmsg6)]
pub fn chaos_sendmsg6(ctx: SockAddrContext) -> i32 {
    connect::call(ctx.sock_addr, 6)
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
