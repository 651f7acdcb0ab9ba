//! Refusing connections when a process asks for them.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_set_retval};
use chaos_common::Hook;
use chaos_common::decide::Endpoints;
use chaos_common::flow::FlowEntry;
use chaos_common::rule::action;

use crate::act::{Effect, apply};
use crate::classify::{hook_counters, search, serving};
use crate::packet::Packet;
use crate::trace;

const PASS: i32 = 1;
const REFUSE: i32 = 0;

/// `connect(2)`, or `sendmsg(2)` on an unconnected UDP socket.
#[inline(always)]
pub fn call(context: *mut bpf_sock_addr, family: u8) -> i32 {
    let Some(serving) = serving() else { return PASS };
    let wanted = serving.control.netns_cookie;
    // SAFETY: the kernel hands every program a valid context.
    if wanted != 0 && unsafe { bpf_get_netns_cookie(context.cast()) } != wanted {
        return PASS;
    }
    if let Some(counters) = hook_counters(Hook::Connect) {
        counters.seen += 1;
    }
    let packet = called(context, family);
    let mut found = MaybeUninit::<FlowEntry>::uninit();
    // SAFETY: plain data that `search` writes before anything reads it.
    let found = unsafe { found.assume_init_mut() };
    search::<true>(core::ptr::null_mut(), &packet, &serving, found);
    if found.count == 0 {
        return PASS;
    }
    let effect = Effect(apply(&packet, found, &serving));
    trace::call(&packet, effect, &serving);
    if effect.action() != action::REJECT {
        return PASS;
    }
    // SAFETY: takes no pointer.
    unsafe { bpf_set_retval(-i32::from(effect.errno())) };
    REFUSE
}

/// The call as a packet whose local end is not known.
#[inline(always)]
fn called(context: *mut bpf_sock_addr, family: u8) -> Packet {
    // SAFETY: the kernel hands every program a valid context; each field is read on its own, as
    // the verifier wants it.
    let (address, port, protocol) = unsafe {
        let address = if family == 4 {
            [(*context).user_ip4, 0, 0, 0]
        } else {
            [
                (*context).user_ip6[0],
                (*context).user_ip6[1],
                (*context).user_ip6[2],
                (*context).user_ip6[3],
            ]
        };
        (address, (*context).user_port, (*context).protocol)
    };
    // A v4 peer of a v6 socket (::ffff:a.b.c.d) is a v4 peer.
    let mapped =
        family == 6 && address[0] | address[1] == 0 && address[2] == 0x0000_ffff_u32.to_be();
    let (family, remote) = if mapped { (4, [address[3], 0, 0, 0]) } else { (family, address) };
    Packet {
        ends: Endpoints {
            local: [0; 4],
            remote,
            local_port: 0,
            remote_port: u16::from_be(port as u16),
            protocol: protocol as u8,
        },
        hook: Hook::Connect as u8,
        family,
        has_ports: 1,
        ..Packet::EMPTY
    }
}
