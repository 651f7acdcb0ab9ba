//! Packets that have met the rules before: those that come back from a detour, and copies.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_change_type, bpf_skb_vlan_pop};
use chaos_common::detour::{self, measure};
use chaos_common::{Hook, token};

use crate::act::TC_NEXT;
use crate::classify::hook_counters;
use crate::maps::{CONTROL, HOMES};
use crate::{number, timing};

/// For this host (include/uapi/linux/if_packet.h).
const PACKET_HOST: u32 = 0;

/// Takes the token off a packet that has one, if it is for this program; whether there may be rules
/// left to meet. A packet with another's token has met this object's rules already: the owner of the
/// token stands behind this program in the chain, and everything before the owner saw the packet
/// before the owner did.
#[inline(always)]
pub fn take(skb: *mut __sk_buff, index: u32, hook: Hook) -> bool {
    let Some(control) = CONTROL.get(0) else { return false };
    if token::tag(index) != control.tag || !token::is_for(index, hook) {
        return false;
    }
    // SAFETY: the kernel hands every program a valid context.
    unsafe { (*skb).tc_index = 0 };
    token::place(index) != token::END
}

/// Sends a packet from the far side of a detour to where it belongs.
#[inline(always)]
pub fn give(skb: *mut __sk_buff) -> i32 {
    let Some(control) = CONTROL.get(0) else { return TC_NEXT };
    // SAFETY: the kernel hands every program a valid context.
    let (tagged, tci) = unsafe { ((*skb).vlan_present != 0, (*skb).vlan_tci) };
    if !tagged {
        return TC_NEXT;
    }
    let Some(home) = HOMES.get(detour::slot(tci)) else { return TC_NEXT };
    // SAFETY: the context is valid.
    if home.ifindex == 0 || unsafe { bpf_skb_vlan_pop(skb) } != 0 {
        return TC_NEXT;
    }
    if detour::is_timed(tci) {
        match home.measure {
            measure::STAMPED => timing::end(skb, home.delays),
            measure::NUMBERED => number::end(skb, home.queue, home.delays),
            _ => {}
        }
    }
    let arriving = home.hook == Hook::Ingress as u32;
    let hook = if arriving { Hook::Ingress } else { Hook::Egress };
    if let Some(counters) = hook_counters(hook) {
        counters.returned += 1;
    }
    // SAFETY: as above.
    unsafe {
        // Where a packet stays in the kernel, its priority waits in this field; see `change`.
        (*skb).priority = (*skb).tc_index;
        (*skb).tc_index = token::pack(control.tag, hook, detour::place(tci)) as u32;
        // The far side's address is not the packet's destination, so it was taken for a
        // stranger's. The loopback device does not look again, and the stack would drop it.
        bpf_skb_change_type(skb, PACKET_HOST);
        let flags = if arriving { u64::from(BPF_F_INGRESS) } else { 0 };
        bpf_redirect(home.ifindex, flags) as i32
    }
}
