//! Which rules a packet matches.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id,
};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_loop};
use chaos_common::control::{Control, flag, state};
use chaos_common::counter::HookCounters;
use chaos_common::decide::{flow_chosen, flow_hash};
use chaos_common::flow::{
    ConnectionKey, FlowEntry, FlowKey4, FlowKey6, FlowKind, FlowSlot4, FlowSlot6, Matches, NO_RULE,
};
use chaos_common::rule::{Rule, action, connections};
use chaos_common::table::{Mask, RuleKey, mask_index};
use chaos_common::{HOOKS, Hook, MAX_MASKS, MAX_MATCHES};
use core::ffi::c_void;

use crate::maps::{
    CONNECTIONS, CONTROL, ENTRIES, FLOWS4, FLOWS6, HOOK_COUNTERS, MASKS, RULES, SCRATCH, Scratch,
    rule_index,
};
use crate::packet::{Link, Packet, TCP, parse};

/// The serving bank, read once per packet.
#[derive(Clone, Copy)]
pub struct Serving {
    pub control: &'static Control,
    pub bank: usize,
    pub generation: u32,
    pub flags: u32,
}

/// `None` when nothing is armed.
#[inline(always)]
pub fn serving() -> Option<Serving> {
    let control = CONTROL.get(0)?;
    // SAFETY: the controller writes this word with one aligned store.
    let word = unsafe { core::ptr::read_volatile(&raw const control.state) };
    if word == state::DISARMED {
        return None;
    }
    let bank = state::bank(word);
    Some(Serving {
        control,
        bank,
        generation: state::generation(word),
        flags: control.flags[bank & 1],
    })
}

#[inline(always)]
pub fn hook_counters(hook: Hook) -> Option<&'static mut HookCounters> {
    // SAFETY: per-CPU memory, and a program is not preempted by itself on the same hook.
    HOOK_COUNTERS.get_ptr_mut(hook as u32).map(|pointer| unsafe { &mut *pointer })
}

/// Parses and classifies; `None` when no rule applies. What the cache knows is used where it lies.
/// A packet counts as seen only when it is looked at for the `first` time. `scratch` is number `place` of
/// [`SCRATCH`].
#[inline(always)]
pub fn packet(
    skb: *mut __sk_buff,
    link: Link,
    hook: Hook,
    first: bool,
    serving: &Serving,
    place: u32,
    scratch: *mut Scratch,
) -> Option<&'static FlowEntry> {
    let counters = hook_counters(hook)?;
    // SAFETY: per-CPU memory that only this program uses while it runs.
    let parsed = parse(skb, link, hook, unsafe { &mut (*scratch).packet });
    // SAFETY: as above, and nobody writes from here on.
    let packet = unsafe { &(*scratch).packet };
    if parsed.is_none() || (packet.tagged != 0 && serving.flags & flag::SKIP_TAGGED != 0) {
        counters.exempt += 1;
        return None;
    }
    counters.seen += first as u64;
    let cgroup = if serving.flags & flag::CGROUP != 0 {
        // SAFETY: the context is valid; packets without a socket give 0.
        unsafe { bpf_skb_cgroup_id(skb) as u32 }
    } else {
        0
    };
    // A handshake may begin a new connection on an old flow's ports, so it is never served from
    // the cache.
    let handshake =
        serving.flags & flag::CONNECTIONS != 0 && packet.ends.protocol == TCP && packet.is_syn();
    let entry = if handshake { None } else { cached(packet, cgroup, serving.generation) };
    if let Some(entry) = entry {
        return (entry.count != 0).then_some(entry);
    }
    chaos_search(skb, place, serving.bank as u32, serving.generation, serving.flags);
    counters.misses += 1;
    // SAFETY: per-CPU memory that nobody writes from here on.
    let found = unsafe { &(*scratch).found };
    remember(packet, cgroup, found);
    (found.count != 0).then_some(found)
}

#[inline(always)]
fn kind(packet: &Packet, cgroup: u32) -> FlowKind {
    FlowKind {
        local_port: packet.ends.local_port,
        remote_port: packet.ends.remote_port,
        protocol: packet.ends.protocol,
        hook: packet.hook,
        fragment: packet.fragment,
        tagged: packet.tagged,
        ifindex: packet.ifindex,
        cgroup,
    }
}

#[inline(always)]
fn key4(packet: &Packet, cgroup: u32) -> FlowKey4 {
    FlowKey4::new(packet.ends.local[0], packet.ends.remote[0], &kind(packet, cgroup))
}

#[inline(always)]
fn key6(packet: &Packet, cgroup: u32) -> FlowKey6 {
    FlowKey6::new(&packet.ends.local, &packet.ends.remote, &kind(packet, cgroup))
}

/// What the flow matches, if it is in the cache.
#[inline(always)]
fn cached(packet: &Packet, cgroup: u32, generation: u32) -> Option<&'static FlowEntry> {
    let entry = if packet.family == 4 {
        let key = key4(packet, cgroup);
        let bucket = FLOWS4.get(key.bucket())?;
        match (bucket.first.key.same(&key), bucket.second.key.same(&key)) {
            (true, _) => &bucket.first.entry,
            (_, true) => &bucket.second.entry,
            _ => return None,
        }
    } else {
        let key = key6(packet, cgroup);
        let bucket = FLOWS6.get(key.bucket())?;
        match (bucket.first.key.same(&key), bucket.second.key.same(&key)) {
            (true, _) => &bucket.first.entry,
            (_, true) => &bucket.second.entry,
            _ => return None,
        }
    };
    (entry.generation == generation).then_some(entry)
}

/// Puts the flow first in its bucket. The flow there moves to the second place, unless it is this
/// very flow or of an earlier generation.
#[inline(never)]
fn remember(packet: &Packet, cgroup: u32, found: &FlowEntry) {
    if packet.family == 4 {
        let key = key4(packet, cgroup);
        let Some(bucket) = FLOWS4.get_ptr_mut(key.bucket()) else { return };
        // SAFETY: per-CPU memory.
        let bucket = unsafe { &mut *bucket };
        if bucket.first.entry.generation == found.generation && !bucket.first.key.same(&key) {
            bucket.second = bucket.first;
        }
        bucket.first = FlowSlot4 { key, entry: *found };
    } else {
        let key = key6(packet, cgroup);
        let Some(bucket) = FLOWS6.get_ptr_mut(key.bucket()) else { return };
        // SAFETY: per-CPU memory.
        let bucket = unsafe { &mut *bucket };
        if bucket.first.entry.generation == found.generation && !bucket.first.key.same(&key) {
            bucket.second = bucket.first;
        }
        bucket.first = FlowSlot6 { key, entry: *found };
    }
}

/// [`search`] for a packet of [`SCRATCH`]. A global function, so that the verifier checks it once and
/// not for every path that leads here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn chaos_search(
    skb: *mut __sk_buff,
    place: u32,
    bank: u32,
    generation: u32,
    flags: u32,
) -> u32 {
    let Some(control) = CONTROL.get(0) else { return 0 };
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return 0 };
    // SAFETY: per-CPU memory that nobody else uses meanwhile.
    let Scratch { packet, found, .. } = unsafe { &mut *scratch };
    let serving = Serving { control, bank: bank as usize & 1, generation, flags };
    search::<false>(skb, packet, &serving, found);
    1
}

/// Tuple-space search: one hash lookup per mask of this hook, whatever the number of rules.
/// `CALL` is true for connect and sendmsg calls, which have no packet.
#[inline(never)]
pub fn search<const CALL: bool>(
    skb: *mut __sk_buff,
    packet: &Packet,
    serving: &Serving,
    found: &mut FlowEntry,
) {
    found.generation = serving.generation;
    found.count = 0;
    found.matches = nothing(serving);
    let (candidates, overflow) = candidates::<CALL>(skb, packet, serving);
    if overflow != 0
        && let Some(counters) = HOOK_COUNTERS.get_ptr_mut(packet.hook as u32)
    {
        // SAFETY: per-CPU memory.
        unsafe { (*counters).overflow += 1 };
    }
    let bank = serving.bank & 1;
    let born = if serving.flags & flag::CONNECTIONS != 0 { born(packet) } else { 0 };
    let hash = if serving.flags & flag::FLOWS != 0 {
        flow_hash(serving.control.flow_seed, &packet.ends)
    } else {
        0
    };
    for place in 0..MAX_MATCHES {
        let candidate = candidates.get(place);
        if candidate == NO_RULE {
            break;
        }
        let Some(rule) = RULES.get(rule_index(bank, candidate)) else { break };
        if !right_age(rule, packet, born) || !flow_chosen(hash, rule.flows) {
            continue;
        }
        if rule.action == action::PROTECT {
            found.count = 0;
            found.matches = nothing(serving);
            return;
        }
        found.matches.push(candidate);
        found.count += 1;
    }
}

/// [`Matches::NONE`], in words that neither the compiler nor the verifier knows. Equal bytes side by side
/// become a call of `memset`, which goes byte by byte on this target; for the verifier see `zero`.
#[inline(always)]
fn nothing(serving: &Serving) -> Matches {
    // SAFETY: a word that nobody writes.
    let zero = unsafe { core::ptr::read_volatile(&raw const serving.control.zero) };
    let none = !u64::from(zero);
    Matches { low: none, high: none }
}

/// Looks up the first mask's entry and the first rule there, and nothing else: the memory that a search
/// has to touch. Whether there is such a rule, and it has begun.
#[inline(always)]
pub fn lookup(skb: *mut __sk_buff, hook: Hook, packet: &mut Packet) -> Option<bool> {
    let serving = serving()?;
    parse(skb, Link::Ethernet, hook, packet)?;
    let bank = serving.bank & 1;
    let index = mask_index(bank, hook, 0);
    let key = masked::<false>(skb, packet, MASKS.get(index)?, index as u16);
    // SAFETY: entries of the serving bank do not change.
    let entry = unsafe { ENTRIES.get(&key) }?;
    let rule = RULES.get(rule_index(bank, entry.get(0)))?;
    Some(rule.not_before == 0)
}

/// The rules whose masked keys the packet has, and whether (not 0) there were more than
/// [`MAX_MATCHES`], so that the first were pushed out.
#[inline(always)]
fn candidates<const CALL: bool>(
    skb: *mut __sk_buff,
    packet: &Packet,
    serving: &Serving,
) -> (Matches, u64) {
    let hook = packet.hook as usize & 3;
    let bank = serving.bank & 1;
    let masks = serving.control.masks[bank][hook] as u32;
    let mut walk = Walk {
        skb,
        packet,
        bank,
        first: ((bank * HOOKS + hook) * MAX_MASKS) as u32,
        overflow: 0,
        all: nothing(serving),
    };
    // The verifier checks the body of a bpf_loop once, and an unrolled one for every mask.
    // SAFETY: the callback gets the context that is passed here.
    unsafe {
        bpf_loop(masks, one_mask::<CALL> as *mut c_void, (&raw mut walk).cast(), 0);
    }
    (walk.all, walk.overflow)
}

struct Walk<'a> {
    skb: *mut __sk_buff,
    packet: &'a Packet,
    bank: usize,
    first: u32,
    overflow: u64,
    all: Matches,
}

const CONTINUE: i64 = 0;

/// Looks the packet up through one mask.
extern "C" fn one_mask<const CALL: bool>(position: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes what `candidates` gave it.
    let walk = unsafe { &mut *context.cast::<Walk<'_>>() };
    let index = walk.first + position as u32;
    let Some(mask) = MASKS.get(index) else { return CONTINUE };
    if mask.local_port | mask.remote_port != 0 && walk.packet.has_ports == 0 {
        return CONTINUE;
    }
    let key = masked::<CALL>(walk.skb, walk.packet, mask, index as u16);
    // SAFETY: entries of the serving bank do not change.
    let Some(entry) = (unsafe { ENTRIES.get(&key) }) else { return CONTINUE };
    for place in 0..MAX_MATCHES {
        let rule = entry.get(place);
        if rule == NO_RULE {
            break;
        }
        // A flag and not a count: the verifier would follow every value of a count.
        let oldest = walk.all.get(MAX_MATCHES - 1);
        if oldest != NO_RULE {
            walk.overflow = 1;
            // Whatever is given up, it is not protection.
            if protects(walk.bank, oldest) {
                continue;
            }
        }
        walk.all.push(rule);
    }
    CONTINUE
}

#[inline(always)]
fn protects(bank: usize, rule: u16) -> bool {
    RULES.get(rule_index(bank & 1, rule)).is_some_and(|rule| rule.action == action::PROTECT)
}

#[inline(always)]
fn masked<const CALL: bool>(
    skb: *mut __sk_buff,
    packet: &Packet,
    mask: &Mask,
    index: u16,
) -> RuleKey {
    let ends = &packet.ends;
    let cgroup = match mask.cgroup_level {
        0 => 0,
        level => ancestor::<CALL>(skb, level as i32 - 1),
    };
    RuleKey {
        local: [
            ends.local[0] & mask.local[0],
            ends.local[1] & mask.local[1],
            ends.local[2] & mask.local[2],
            ends.local[3] & mask.local[3],
        ],
        remote: [
            ends.remote[0] & mask.remote[0],
            ends.remote[1] & mask.remote[1],
            ends.remote[2] & mask.remote[2],
            ends.remote[3] & mask.remote[3],
        ],
        cgroup,
        local_port: ends.local_port & mask.local_port,
        remote_port: ends.remote_port & mask.remote_port,
        ifindex: packet.ifindex & mask.ifindex,
        protocol: ends.protocol & mask.protocol,
        family: packet.family & mask.family,
        mask: index,
        reserved: 0,
    }
}

#[inline(always)]
fn ancestor<const CALL: bool>(skb: *mut __sk_buff, level: i32) -> u64 {
    if CALL {
        // SAFETY: takes no pointer.
        unsafe { bpf_get_current_ancestor_cgroup_id(level) }
    } else {
        // SAFETY: the context is valid; packets without a socket give 0.
        unsafe { bpf_skb_ancestor_cgroup_id(skb, level) }
    }
}

#[inline(always)]
fn right_age(rule: &Rule, packet: &Packet, born: u64) -> bool {
    match rule.connections {
        connections::ANY => true,
        _ if packet.ends.protocol != TCP => false,
        connections::NEW => born >= rule.not_before,
        _ => born < rule.not_before,
    }
}

/// When this packet's connection began; 0 if its handshake was never seen.
#[inline(always)]
fn born(packet: &Packet) -> u64 {
    if packet.ends.protocol != TCP {
        return 0;
    }
    let key = ConnectionKey {
        local: packet.ends.local,
        remote: packet.ends.remote,
        local_port: packet.ends.local_port,
        remote_port: packet.ends.remote_port,
        family: packet.family as u32,
    };
    if packet.is_syn() {
        // SAFETY: takes no argument.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        // A full table forgets the oldest connections, which then count as established.
        let _ = CONNECTIONS.insert(&key, &now, 0);
        return now;
    }
    // SAFETY: values are replaced whole.
    unsafe { CONNECTIONS.get(&key) }.copied().unwrap_or(0)
}
