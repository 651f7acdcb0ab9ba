//! How long packets are held. Where they stay in the kernel meanwhile, `skb->tstamp` carries the time at
//! which they left, as a delivery time, which redirects, qdiscs and veths leave alone; see
//! [`crate::number`] for the others.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_skb_set_tstamp;
use chaos_common::delays::bucket;

use crate::atomic;
use crate::maps::DELAYS;

/// `BPF_SKB_TSTAMP_UNSPEC`: no delivery time (include/uapi/linux/bpf.h).
const NONE: u32 = 0;
/// `BPF_SKB_TSTAMP_DELIVERY_MONO`: a delivery time by the monotonic clock. Since Linux 5.18.
const MONOTONIC: u32 = 1;

/// Puts the present on a packet; whether it has it now. A time that a sender has put on a packet that
/// `leaves` stays if it is still to come: it says when the device's own qdisc shall send it. One that
/// is over says nothing any more, nor does the time at which a packet arrived, which a redirect erases.
#[inline(always)]
pub fn begin(skb: *mut __sk_buff, leaves: bool) -> bool {
    // SAFETY: the context is valid; the other helper takes no pointer.
    unsafe {
        let now = bpf_ktime_get_ns();
        if leaves && (*skb).tstamp > now {
            return false;
        }
        bpf_skb_set_tstamp(skb, now, MONOTONIC) == 0
    }
}

/// Takes the time off again, and counts how long that was.
#[inline(always)]
pub fn end(skb: *mut __sk_buff, delays: u32) {
    // SAFETY: the context is valid. A program that does not look at the type as well reads zero.
    let (kind, since) = unsafe { ((*skb).tstamp_type, (*skb).tstamp) };
    if kind as u32 != MONOTONIC {
        return;
    }
    // SAFETY: as above; the other helper takes no pointer.
    let now = unsafe {
        bpf_skb_set_tstamp(skb, 0, NONE);
        bpf_ktime_get_ns()
    };
    count(delays, now.saturating_sub(since));
}

/// Counts how long a packet was held.
#[inline(always)]
pub fn count(delays: u32, held: u64) {
    let Some(delays) = DELAYS.get_ptr_mut(delays) else { return };
    // SAFETY: map memory, aligned to eight bytes; there are as many as `bucket` names.
    unsafe {
        let counts = (&raw mut (*delays).buckets).cast::<u64>();
        atomic::fetch_add(counts.add(bucket(held)), 1);
        atomic::fetch_add(&raw mut (*delays).sum, held);
    }
}
