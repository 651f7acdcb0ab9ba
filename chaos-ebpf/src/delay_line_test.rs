//! The smallest pair of programs that drives the delay line, for its tests and benchmarks: one
//! diverts packets that touch a port, the other lets them go on to where they belong.
#![no_std]
#![no_main]
#![expect(clippy::inline_always, reason = "the verifier's limits decide what is a call")]
#![expect(clippy::needless_pass_by_value, reason = "the program macros pass contexts by value")]
#![expect(unsafe_code, reason = "kernel helpers are raw functions")]
#![expect(missing_docs, reason = "the classifier macro drops the comments of what it expands")]
#![expect(unreachable_pub, reason = "programs must be visible to the linker")]

use aya_ebpf::bindings::BPF_F_INGRESS;
use aya_ebpf::helpers::{
    bpf_ktime_get_boot_ns, bpf_redirect, bpf_skb_change_type, bpf_skb_vlan_pop, bpf_skb_vlan_push,
};
use aya_ebpf::macros::{classifier, map, socket_filter};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{SkBuffContext, TcContext};

/// Lets other programs decide.
const NEXT: i32 = -1;
/// Marks what comes back from the line.
const MARK: u32 = 0x0c4a_0501;
/// For this host (include/uapi/linux/if_packet.h).
const PACKET_HOST: u32 = 0;
/// A port that means every packet.
const ANY: u32 = 1 << 16;

/// 0: the TAP's ifindex, 0 to divert nothing. 1 to 4: ports to divert, and by the same place 5 to
/// 8: their slots.
#[map]
static CONFIG: Array<u32> = Array::with_max_entries(9, 0);
/// Boot time in ns until which packets are diverted.
#[map]
static LEASE: Array<u64> = Array::with_max_entries(1, 0);
/// By slot: the ifindex, and bit 31 for its ingress.
#[map]
static TARGETS: Array<u32> = Array::with_max_entries(4096, 0);

/// At the egress or ingress of a device.
#[classifier]
pub fn divert(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let skb = unsafe { &mut *ctx.skb.skb };
    if skb.mark == MARK {
        skb.mark = 0;
        return NEXT;
    }
    let Some(&tap) = CONFIG.get(0) else { return NEXT };
    let Some(&lease) = LEASE.get(0) else { return NEXT };
    // SAFETY: takes no pointer.
    if tap == 0 || unsafe { bpf_ktime_get_boot_ns() } >= lease {
        return NEXT;
    }
    let ports = ports(&ctx);
    for place in 1..5 {
        let (Some(&port), Some(&slot)) = (CONFIG.get(place), CONFIG.get(place + 4)) else {
            return NEXT;
        };
        let matches = match ports {
            Some((source, destination)) => source == port || destination == port,
            None => false,
        };
        if slot != 0 && (matches || port == ANY) {
            // SAFETY: the context is valid; 802.1Q in network order.
            if unsafe { bpf_skb_vlan_push(ctx.skb.skb, 0x8100_u16.to_be(), slot as u16) } != 0 {
                return NEXT;
            }
            // SAFETY: takes no pointer.
            return unsafe { bpf_redirect(tap, 0) as i32 };
        }
    }
    NEXT
}

/// At the TAP's ingress.
#[classifier]
pub fn give_back(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let skb = unsafe { &mut *ctx.skb.skb };
    let Some(&target) = TARGETS.get(skb.vlan_tci & 0xfff) else { return NEXT };
    // SAFETY: as above.
    if target == 0 || unsafe { bpf_skb_vlan_pop(ctx.skb.skb) } != 0 {
        return NEXT;
    }
    skb.mark = MARK;
    // The TAP's address is not the packet's destination, so it was taken for a stranger's. The
    // loopback device does not look again, and the stack would drop it.
    // SAFETY: the context is valid.
    unsafe { bpf_skb_change_type(ctx.skb.skb, PACKET_HOST) };
    let flags = if target >> 31 == 1 { u64::from(BPF_F_INGRESS) } else { 0 };
    // SAFETY: takes no pointer.
    unsafe { bpf_redirect(target & 0x7fff_ffff, flags) as i32 }
}

/// Chooses the queue of the TAP by slot.
#[socket_filter]
pub fn steer(ctx: SkBuffContext) -> i64 {
    // SAFETY: the context is valid while the program runs.
    i64::from(unsafe { (*ctx.skb.skb).vlan_tci } & 0xfff)
}

/// Source and destination port of TCP and UDP, without fragments and options.
#[inline(always)]
fn ports(ctx: &TcContext) -> Option<(u32, u32)> {
    let (protocol, at) = match u16::from_be(ctx.load(12).ok()?) {
        0x0800 => (ctx.load::<u8>(23).ok()?, 34),
        // Streams over the loopback device make super-packets beyond 64 KiB, whose length is in a
        // hop-by-hop header.
        0x86dd => match ctx.load::<u8>(20).ok()? {
            0 => (ctx.load::<u8>(54).ok()?, 62),
            protocol => (protocol, 54),
        },
        _ => return None,
    };
    if protocol != 6 && protocol != 17 {
        return None;
    }
    let source = u16::from_be(ctx.load(at).ok()?);
    let destination = u16::from_be(ctx.load(at + 2).ok()?);
    Some((u32::from(source), u32::from(destination)))
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
