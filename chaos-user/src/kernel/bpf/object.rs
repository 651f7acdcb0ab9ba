//! The loaded object: two banks of rules, one of them serving.

use std::mem::offset_of;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::SocketFilter;
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use chaos_common::control::{Control, state};
use chaos_common::detour::{DEPARTURES, QUEUES};
use chaos_common::flow::Matches;
use chaos_common::rule::{Rule, action};
use chaos_common::table::{MASKS, Mask, RuleKey};
use chaos_common::{BANKS, HOOKS, Hook, MAX_MASKS};

use super::slab::Slab;
use super::{BpfError, Counters, Departures};
use crate::plan::Tables;
use crate::plan::growth::Word;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/chaos.o"));

/// How much room the maps get; memory grows with the number of possible CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rules per bank, and counter slots.
    pub rules: u32,
    /// Keys over both banks.
    pub entries: u32,
    /// Ways of held packets that are measured apart: 104 KiB each.
    pub delays: u32,
    /// Queues of a delay line that packets go to, at most 16: 512 KiB each for when they left.
    pub queues: u16,
}

impl Sizes {
    /// Room for these tables and for as many again when a bank is refilled, and one measurement.
    pub fn of(tables: &Tables) -> Self {
        let rules = tables.rules.len().max(tables.slots as usize) as u32;
        let entries = (tables.entries.len() as u32 * 2).max(32);
        Self { rules: rules.max(16), entries, delays: 1, queues: 0 }
    }

    fn departures(self) -> u32 {
        (u32::from(self.queues).min(QUEUES) * DEPARTURES).max(1)
    }
}

/// The control block, shared between whoever arms and whoever keeps the lease.
#[derive(Debug, Clone)]
pub struct LeaseHandle(pub(super) Arc<Slab<Control>>);

impl LeaseHandle {
    /// Rules act until `until` (CLOCK_BOOTTIME, ns), unless it is moved again.
    pub fn extend(&self, until: u64) {
        self.0.publish(offset_of!(Control, lease), until);
    }

    /// Nothing is looked at from now on.
    pub fn disarm(&self) {
        self.0.publish(offset_of!(Control, state), state::DISARMED);
    }

    /// Packets are sent on detours until `until` (CLOCK_BOOTTIME, ns), and pass from then on, unless
    /// it is moved again. For a detour whose far side can die, such as the delay line, move it only
    /// while that side is known to be alive; else move it together with the lease. It starts at 0.
    pub fn extend_detours(&self, until: u64) {
        self.0.publish(offset_of!(Control, detour_lease), until);
    }
}

/// The rules that serve, for whoever makes them act on more packets meanwhile: one word, so that no
/// packet meets half of a change, and no cached flow is looked up again.
#[derive(Debug)]
pub struct ServingRules {
    rules: Slab<Rule>,
    bank: usize,
}

impl ServingRules {
    /// Sets a word of a rule. There is nothing to set of a rule that there is not.
    pub fn set(&self, rule: usize, word: Word, value: u64) {
        let offset = match word {
            Word::Share => offset_of!(Rule, parameters),
            Word::ByteCost => offset_of!(Rule, amount),
        };
        let _ = self.rules.publish_at(rule * BANKS + self.bank, offset, value);
    }
}

/// One loaded copy of the eBPF object. Rules of one network namespace share one.
pub struct Object {
    ebpf: Ebpf,
    control: Arc<Slab<Control>>,
    rules: Slab<Rule>,
    masks: Slab<Mask>,
    sizes: Sizes,
    installed: [Vec<RuleKey>; BANKS],
    serving: Option<usize>,
    generation: u32,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sizes, serving, generation, .. } = self;
        f.debug_struct("Object")
            .field("sizes", sizes)
            .field("serving", serving)
            .field("generation", generation)
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Creates the maps, disarmed; programs are loaded when they are attached.
    pub fn load(sizes: Sizes) -> Result<Self, BpfError> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("RULES", sizes.rules * BANKS as u32)
            .map_max_entries("ENTRIES", sizes.entries)
            .map_max_entries("SEQUENCES", sizes.rules)
            .map_max_entries("RULE_COUNTERS", sizes.rules)
            .map_max_entries("DELAYS", sizes.delays.max(1))
            .map_max_entries("DEPARTURES", sizes.departures())
            .load(OBJECT)
            .map_err(|error| BpfError::Load(Box::new(error)))?;
        let control = Slab::map(array(&mut ebpf, "CONTROL")?, 1)?;
        let rules = Slab::map(array(&mut ebpf, "RULES")?, sizes.rules as usize * BANKS)?;
        let masks = Slab::map(array(&mut ebpf, "MASKS")?, MASKS as usize)?;
        Ok(Self {
            ebpf,
            control: Arc::new(control),
            rules,
            masks,
            sizes,
            installed: Default::default(),
            serving: None,
            generation: 0,
        })
    }

    /// For whoever keeps the lease or must disarm in a hurry.
    pub fn lease(&self) -> LeaseHandle {
        LeaseHandle(Arc::clone(&self.control))
    }

    /// For the delay line that [`DetourVia::line`](super::DetourVia::line) speaks of.
    pub fn departures(&mut self) -> Result<Departures, BpfError> {
        let queues = Slab::map(array(&mut self.ebpf, "QUEUE")?, QUEUES as usize)?;
        let times = self.sizes.departures() as usize;
        Ok(Departures::new(queues, Slab::map(array(&mut self.ebpf, "DEPARTURES")?, times)?))
    }

    /// The program that gives all packets of a slot to one queue of a delay line's TAP.
    pub fn steering(&mut self) -> Result<OwnedFd, BpfError> {
        const NAME: &str = "chaos_steer";
        let refused = |source| BpfError::Program { program: NAME, source: Box::new(source) };
        let program = self.ebpf.program_mut(NAME).map(<&mut SocketFilter>::try_from);
        let Some(Ok(program)) = program else {
            return Err(BpfError::Foreign { kind: "program", name: NAME });
        };
        if program.fd().is_err() {
            program.load().map_err(refused)?;
        }
        let fd = program.fd().map_err(refused)?.as_fd().try_clone_to_owned();
        fd.map_err(|source| BpfError::Io { what: "keep the steering program", source })
    }

    /// Fills the idle bank; nothing changes for packets until [`Self::flip`].
    pub fn fill(&mut self, tables: &Tables) -> Result<Filled, BpfError> {
        let bank = self.serving.map_or(0, |serving| 1 - serving);
        self.check_room(tables)?;
        let comes_back = |rule: &Rule| matches!(rule.action, action::DUPLICATE | action::DETOUR);
        if tables.rules.iter().any(comes_back) && self.control.first().tag == 0 {
            self.claim_tag()?;
        }
        self.clear(bank)?;
        for (i, rule) in tables.rules.iter().enumerate() {
            store(&mut self.rules, i * BANKS + bank, *rule, "rules")?;
        }
        for hook in Hook::ALL {
            let first = chaos_common::table::mask_index(bank, hook, 0) as usize;
            for (i, mask) in tables.masks[hook.index()].iter().enumerate() {
                store(&mut self.masks, first + i, *mask, "masks")?;
            }
        }
        let mut entries = entries(&mut self.ebpf)?;
        for (key, matches) in &tables.entries {
            let key = RuleKey { mask: key.mask + bank_offset(bank), ..**key };
            entries.insert(key, matches, 0).map_err(map_error("ENTRIES"))?;
            self.installed[bank].push(key);
        }
        Ok(Filled {
            bank,
            masks: tables.masks.each_ref().map(|masks| masks.len() as u8),
            flags: tables.flags,
            flow_seed: tables.flow_seed,
        })
    }

    /// Makes a filled bank the serving one: packets from now on meet its rules and no others.
    #[expect(clippy::needless_pass_by_value, reason = "a bank is put into service once")]
    pub fn flip(&mut self, filled: Filled, netns_cookie: u64) {
        let Filled { bank, masks, flags, flow_seed } = filled;
        let mut control = self.control.first();
        control.masks[bank] = masks;
        control.flags[bank] = flags;
        // The serving bank's own fields do not change, and `state` is published last.
        self.control.publish(offset_of!(Control, netns_cookie), netns_cookie);
        self.control.publish(offset_of!(Control, flow_seed), flow_seed);
        self.control.publish(offset_of!(Control, masks), word(control.masks));
        self.control.publish(
            offset_of!(Control, flags),
            u64::from(control.flags[0]) | u64::from(control.flags[1]) << 32,
        );
        self.generation = self.generation.wrapping_add(1);
        self.serving = Some(bank);
        self.control.publish(offset_of!(Control, state), state::armed(bank, self.generation));
    }

    /// The rules of the bank that serves; they are not followed when another one does.
    pub fn serving_rules(&mut self) -> Result<ServingRules, BpfError> {
        let elements = self.sizes.rules as usize * BANKS;
        let rules = Slab::map(array(&mut self.ebpf, "RULES")?, elements)?;
        Ok(ServingRules { rules, bank: self.serving.unwrap_or_default() })
    }

    /// At most `rate` log lines per second and CPU; 0 turns the log off.
    pub fn set_trace_rate(&self, rate: u32) {
        self.control.publish(offset_of!(Control, trace_rate), u64::from(rate));
    }

    /// Nothing is looked at from now on.
    pub fn disarm(&mut self) {
        self.lease().disarm();
        self.serving = None;
    }

    /// The rules' and hooks' counters, and the decision sequences.
    pub fn counters(&self) -> Result<Counters<&MapData>, BpfError> {
        Counters::of(&self.ebpf)
    }

    /// Ids of the counters' maps, for [`Counters::by_id`].
    pub fn counter_maps(&self) -> Result<[u32; 2], BpfError> {
        Counters::map_ids(&self.ebpf)
    }

    /// Where a rule's next decision number stands (tests recompute decisions from it).
    pub fn sequence(&self, slot: u32) -> Result<u64, BpfError> {
        let map = self.map("SEQUENCES")?;
        let sequences: Array<_, u64> = Array::try_from(map).map_err(map_error("SEQUENCES"))?;
        sequences.get(&slot, 0).map_err(map_error("SEQUENCES"))
    }

    pub(crate) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    pub(super) fn map(&self, name: &'static str) -> Result<&Map, BpfError> {
        self.ebpf.map(name).ok_or(BpfError::Foreign { kind: "map", name })
    }

    pub(super) fn control(&self) -> &Slab<Control> {
        &self.control
    }

    fn check_room(&self, tables: &Tables) -> Result<(), BpfError> {
        let no_room = |what, needed, room| Err(BpfError::NoRoom { what, needed, room });
        let rules = tables.rules.len().max(tables.slots as usize);
        if rules > self.sizes.rules as usize {
            return no_room("rules", rules, self.sizes.rules as usize);
        }
        if tables.entries.len() > self.sizes.entries as usize / 2 {
            return no_room("keys", tables.entries.len(), self.sizes.entries as usize / 2);
        }
        match tables.masks.iter().map(Vec::len).max() {
            Some(masks) if masks > MAX_MASKS => no_room("masks", masks, MAX_MASKS),
            _ => Ok(()),
        }
    }

    /// Empties an idle bank, once no packet can be looking at it any more.
    fn clear(&mut self, bank: usize) -> Result<(), BpfError> {
        if self.installed[bank].is_empty() {
            return Ok(());
        }
        wait_for_packets_in_flight()?;
        let mut entries = entries(&mut self.ebpf)?;
        for key in self.installed[bank].drain(..) {
            entries.remove(&key).map_err(map_error("ENTRIES"))?;
        }
        Ok(())
    }
}

/// A bank that [`Object::flip`] can put into service.
#[derive(Debug)]
#[must_use = "a filled bank does nothing until it is flipped"]
pub struct Filled {
    bank: usize,
    masks: [u8; HOOKS],
    flags: u32,
    flow_seed: u64,
}

fn store<T: aya::Pod>(
    slab: &mut Slab<T>,
    index: usize,
    value: T,
    what: &'static str,
) -> Result<(), BpfError> {
    if slab.set(index, value) {
        return Ok(());
    }
    Err(BpfError::NoRoom { what, needed: index + 1, room: slab.len() })
}

fn bank_offset(bank: usize) -> u16 {
    (bank * HOOKS * MAX_MASKS) as u16
}

fn word(masks: [[u8; HOOKS]; BANKS]) -> u64 {
    let [[a, b, c, d], [e, f, g, h]] = masks;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// `MEMBARRIER_CMD_GLOBAL` waits for an RCU grace period, and programs run inside RCU read-side
/// sections. <https://github.com/torvalds/linux/blob/v6.12/kernel/sched/membarrier.c#L588>
#[expect(unsafe_code, reason = "membarrier(2) has no safe wrapper")]
fn wait_for_packets_in_flight() -> Result<(), BpfError> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 {
        return Ok(());
    }
    Err(BpfError::Io {
        what: "wait for packets in flight (membarrier)",
        source: std::io::Error::last_os_error(),
    })
}

fn array<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a MapData, BpfError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(BpfError::Foreign { kind: "map", name }),
    }
}

fn entries(ebpf: &mut Ebpf) -> Result<HashMap<&mut MapData, RuleKey, Matches>, BpfError> {
    let map = ebpf.map_mut("ENTRIES").ok_or(BpfError::Foreign { kind: "map", name: "ENTRIES" })?;
    HashMap::try_from(map).map_err(map_error("ENTRIES"))
}

pub(crate) fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> BpfError {
    move |source| BpfError::Map { map, source: Box::new(source) }
}
