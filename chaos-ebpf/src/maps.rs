//! The maps. The controller sizes the ones that depend on the plan when it loads the object.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use chaos_common::control::Control;
use chaos_common::counter::{HookCounters, RuleCounters};
use chaos_common::delays::Delays;
use chaos_common::detour::{Detour, DetourKey, HOMES as HOME_COUNT, Home, QUEUES, Queue};
use chaos_common::flow::{
    BUCKETS4, BUCKETS6, ConnectionKey, FlowBucket4, FlowBucket6, FlowEntry, Matches,
};
use chaos_common::rule::Rule;
use chaos_common::table::{MASKS as MASK_COUNT, Mask, RuleKey};
use chaos_common::{BANKS, HOOKS};

use crate::packet::Packet;

/// Sized by the controller to what the plan needs.
const SIZED_BY_PLAN: u32 = 64;

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Rule `i` of bank `b` is element `i * BANKS + b`.
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(SIZED_BY_PLAN, BPF_F_MMAPABLE);

#[map]
pub static MASKS: Array<Mask> = Array::with_max_entries(MASK_COUNT, BPF_F_MMAPABLE);

/// What the masked keys lead to.
#[map]
pub static ENTRIES: HashMap<RuleKey, Matches> =
    HashMap::with_max_entries(SIZED_BY_PLAN, BPF_F_NO_PREALLOC);

/// The flow cache. Array lookups are compiled into the program, where a hash map costs a helper
/// call and several returns, and returns are dear under the mitigations of today's CPUs. Each CPU
/// has its own, so that nobody else writes to a bucket that is being read.
#[map]
pub static FLOWS4: PerCpuArray<FlowBucket4> = PerCpuArray::with_max_entries(BUCKETS4, 0);

#[map]
pub static FLOWS6: PerCpuArray<FlowBucket6> = PerCpuArray::with_max_entries(BUCKETS6, 0);

/// When the handshake of a TCP connection began, CLOCK_BOOTTIME in ns.
#[map]
pub static CONNECTIONS: LruHashMap<ConnectionKey, u64> = LruHashMap::with_max_entries(65_536, 0);

/// Decision numbers (or chain states) by rule slot.
#[map]
pub static SEQUENCES: Array<u64> = Array::with_max_entries(SIZED_BY_PLAN, 0);

#[map]
pub static RULE_COUNTERS: PerCpuArray<RuleCounters> =
    PerCpuArray::with_max_entries(SIZED_BY_PLAN, 0);

#[map]
pub static HOOK_COUNTERS: PerCpuArray<HookCounters> =
    PerCpuArray::with_max_entries(HOOKS as u32, 0);

/// The ways of packets that are held.
#[map]
pub static DETOURS: HashMap<DetourKey, Detour> =
    HashMap::with_max_entries(HOME_COUNT, BPF_F_NO_PREALLOC);

/// Where they belong, by the slot in their tag.
#[map]
pub static HOMES: Array<Home> = Array::with_max_entries(HOME_COUNT, 0);

/// The queues of a delay line. Its threads have them in their memory.
#[map]
pub static QUEUE: Array<Queue> = Array::with_max_entries(QUEUES, BPF_F_MMAPABLE);

/// When packets were sent to a delay line, CLOCK_MONOTONIC in ns, by queue and number. Sized by the
/// controller: one element, and so no numbers, where there is no delay line.
#[map]
pub static DEPARTURES: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How long they were held. Shared by all CPUs, because it is large and packets that are held are few.
#[map]
pub static DELAYS: Array<Delays> = Array::with_max_entries(1, 0);

/// What is known of the packet in hand.
#[repr(C)]
pub struct Scratch {
    pub packet: Packet,
    pub found: FlowEntry,
    pub change: Change,
}

/// What the rules want to be done to the packet in hand, if it is not lost.
#[repr(C)]
pub struct Change {
    /// The rules that the packet matched.
    pub matches: Matches,
    /// Chooses the bit to flip.
    pub draw: u64,
    /// The decision of the rule that flips it.
    pub corrupt_sequence: u64,
    /// The decision of the rule that sends it on a detour.
    pub detour_sequence: u64,
    /// Copies to make.
    pub copies: u64,
    /// The rule that flips a bit, or [`chaos_common::flow::NO_RULE`].
    pub corrupt_rule: u32,
    /// [`chaos_common::rule::corrupt`].
    pub corrupt_kind: u32,
    /// The rule that sends it on a detour, or as above.
    pub detour_rule: u32,
    /// That rule's place among the matches.
    pub detour_place: u32,
    /// `skb->tc_index` of a packet that has met the rules before, else 0.
    pub token: u32,
    /// How many rules it matched.
    pub count: u32,
    /// Where it is in [`SCRATCH`].
    pub place: u16,
    /// 1 once a bit was flipped.
    pub corrupted: u8,
    /// 1 once it was sent on a detour.
    pub detoured: u8,
}

/// Packets that meet the rules for the first time, and after them those that have met them before: a
/// copy is sent, and meets the programs, while the program that makes it still runs.
pub const TURNS: u32 = 2;

/// By turn and hook. The verifier does not follow what is stored in map memory, so what the parser found
/// does not multiply the paths through everything behind it. Programs on tc and `cgroup_skb` run
/// with bottom halves off and do not nest on one hook in one turn; calls, which can be preempted, use their
/// stack instead.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(HOOKS as u32 * TURNS, 0);

/// Words of the longest answer to a rejected packet.
pub const ANSWER_WORDS: usize = 48;

#[map]
pub static ANSWER: PerCpuArray<[u16; ANSWER_WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// Bytes that a corruption pulls off and puts back: tags, IP header with options, checksum.
pub const HEADERS_LENGTH: usize = 96;

#[map]
pub static HEADERS: PerCpuArray<[u8; HEADERS_LENGTH]> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Element of [`RULES`].
#[inline(always)]
pub fn rule_index(bank: usize, rule: u16) -> u32 {
    rule as u32 * BANKS as u32 + bank as u32
}
