//! Which rules a packet matches.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id,
};
use chaos_common::control::{Control, flag, state};
use chaos_common::counter::HookCounters;
use chaos_common::decide::flow_chosen;
use chaos_common::flow::{ConnectionKey, FlowEntry, FlowKey4, FlowKey6, Matches, NO_RULE};
use chaos_common::rule::{Rule, action, connections};
use chaos_common::table::{Mask, RuleKey};
use chaos_common::{HOOKS, Hook, MAX_MASKS, MAX_MATCHES};

use crate::maps::{
    CONNECTIONS, CONTROL, ENTRIES, FLOWS4, FLOWS6, HOOK_COUNTERS, MASKS, RULES, rule_index,
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

/// Parses and classifies; false when no rule applies.
#[inline(always)]
pub fn packet(
    skb: *mut __sk_buff,
    link: Link,
    hook: Hook,
    serving: &Serving,
    packet: &mut Packet,
    found: &mut FlowEntry,
) -> bool {
    let Some(counters) = hook_counters(hook) else { return false };
    if parse(skb, link, hook, packet).is_none()
        || (packet.tagged != 0 && serving.flags & flag::SKIP_TAGGED != 0)
    {
        counters.exempt += 1;
        return false;
    }
    counters.seen += 1;
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
    let ends = &packet.ends;
    let refused = if packet.family == 4 {
        let key = FlowKey4 {
            local: ends.local[0],
            remote: ends.remote[0],
            local_port: ends.local_port,
            remote_port: ends.remote_port,
            protocol: ends.protocol,
            hook: hook as u8,
            fragment: packet.fragment,
            tagged: packet.tagged,
            ifindex: packet.ifindex,
            cgroup,
        };
        if !handshake
            // SAFETY: entries are replaced whole.
            && let Some(entry) = unsafe { FLOWS4.get(&key) }
            && entry.generation == serving.generation
        {
            *found = *entry;
            return found.count != 0;
        }
        search::<false>(skb, packet, serving, found);
        FLOWS4.insert(&key, &*found, 0).is_err()
    } else {
        let key = FlowKey6 {
            local: ends.local,
            remote: ends.remote,
            local_port: ends.local_port,
            remote_port: ends.remote_port,
            protocol: ends.protocol,
            hook: hook as u8,
            fragment: packet.fragment,
            tagged: packet.tagged,
            ifindex: packet.ifindex,
            cgroup,
        };
        if !handshake
            // SAFETY: entries are replaced whole.
            && let Some(entry) = unsafe { FLOWS6.get(&key) }
            && entry.generation == serving.generation
        {
            *found = *entry;
            return found.count != 0;
        }
        search::<false>(skb, packet, serving, found);
        FLOWS6.insert(&key, &*found, 0).is_err()
    };
    counters.misses += 1;
    counters.cache_full += refused as u64;
    found.count != 0
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
    found.matches = Matches::NONE;
    let bank = serving.bank & 1;
    let born = if serving.flags & flag::CONNECTIONS != 0 { born(packet) } else { 0 };
    let masks = serving.control.masks[bank][packet.hook as usize & 3] as usize;
    for position in 0..MAX_MASKS {
        if position >= masks {
            break;
        }
        let index = (bank * HOOKS + (packet.hook as usize & 3)) * MAX_MASKS + position;
        let Some(mask) = MASKS.get(index as u32) else { break };
        if mask.local_port | mask.remote_port != 0 && packet.has_ports == 0 {
            continue;
        }
        let key = masked::<CALL>(skb, packet, mask, index as u16);
        // SAFETY: entries of the serving bank do not change.
        let Some(candidates) = (unsafe { ENTRIES.get(&key) }) else { continue };
        for place in 0..MAX_MATCHES {
            let candidate = candidates.get(place);
            if candidate == NO_RULE {
                break;
            }
            let Some(rule) = RULES.get(rule_index(bank, candidate)) else { break };
            if !chosen(rule, packet, born) {
                continue;
            }
            if rule.action == action::PROTECT {
                found.count = 0;
                found.matches = Matches::NONE;
                return;
            }
            if found.count as usize >= MAX_MATCHES {
                if let Some(counters) = HOOK_COUNTERS.get_ptr_mut(packet.hook as u32) {
                    // SAFETY: per-CPU memory.
                    unsafe { (*counters).overflow += 1 };
                }
                continue;
            }
            found.matches.push(candidate);
            found.count += 1;
        }
    }
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

/// The parts of a selector that are no fields of the packet.
#[inline(always)]
fn chosen(rule: &Rule, packet: &Packet, born: u64) -> bool {
    let right_age = match rule.connections {
        connections::ANY => true,
        _ if packet.ends.protocol != TCP => false,
        connections::NEW => born >= rule.not_before,
        _ => born < rule.not_before,
    };
    right_age && flow_chosen(rule.flow_seed, &packet.ends, rule.flows)
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
