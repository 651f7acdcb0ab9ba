//! Where detoured packets go, and how they come back.
//!
//! A packet that a [`plan::Detour`](crate::plan::Detour) rule takes aside is looked up by rule, device
//! and hook ([`DetourAt`]). What is found ([`DetourVia`]) says to which device it goes. On its way it
//! carries:
//!
//! - an 802.1Q tag, in its metadata or in the frame, whose VLAN identifier is the slot and whose
//!   priority bits are the program's own: both must come back as they were;
//! - `skb->priority`, the class of a classful root;
//! - in `skb->tstamp`, if its way is measured, the time at which it left, and a bit of the tag that
//!   says so (not if its sender has put a time to come there, which the device's qdisc waits for);
//! - instead of that, where it leaves the kernel, a second tag behind the first with a number, under
//!   which the time is written down (not if it is a super-packet);
//! - an Ethernet header (of zeroes where the device has none), so that any Ethernet device will do.
//!
//! At the far side's ingress the give-back program ([`Object::attach_give_back`]) pops the tag,
//! restores the priority where the packet has stayed in the kernel, and sends the packet to the
//! device and hook that the slot stands for. There this object's program recognises it by a token in
//! `skb->tc_index` ([`chaos_common::token`]), goes on with the detours that are left, and lets it
//! pass; the user's mark is never touched (a TAP loses it). A packet without a known slot goes up
//! the far side's own stack, which has no addresses.
//!
//! Nothing is swallowed: the packet passes when no detour is set, when the detour lease or the lease
//! has run out, when the rule's window is over, when the detour's device is gone or its MTU too
//! small, and when as many packets as can wait for their queue of the delay line. Packets that are held when a rule ends come back all the same, as long as the give-back
//! program and its far side are there: take those away last, after the longest delay.
//!
//! Whoever makes detour devices must keep other faults off them: a packet on a detour is not the
//! network's business.

use std::io::ErrorKind;
use std::mem::offset_of;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, MapInfo, loaded_maps};
use aya::programs::TcAttachType;
use chaos_common::Hook;
use chaos_common::control::Control;
use chaos_common::detour::{Detour, DetourKey, HOMES, Home, measure};

use super::attach::TcProgram;
use super::object::map_error;
use super::{Attached, BpfError, Device, Mechanism, Object};

/// Packets of one rule at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetourAt {
    /// The rule's slot: its place in [`plan::Request::rules`](crate::plan::Request).
    pub rule: u32,
    /// Index of the device that they pass.
    pub device: u32,
    /// Where they do: [`Hook::Egress`] or [`Hook::Ingress`].
    pub hook: Hook,
}

/// Their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetourVia {
    /// Index of the detour device: the near end of a veth pair, or a TAP.
    pub device: u32,
    /// `skb->priority` on the detour: the class of a setting; `None` leaves it.
    pub class: Option<u32>,
    /// 1 to 4094, and of this [`DetourAt`] alone.
    pub slot: u16,
    /// Where it is counted how long packets were held, below [`Sizes::delays`]: several ways can share
    /// it.
    ///
    /// [`Sizes::delays`]: super::Sizes::delays
    pub measured: Option<u32>,
    /// The packets leave the kernel, for this queue of a delay line that has this object's
    /// [`Departures`](super::Departures); there is room for [`Sizes::queues`](super::Sizes::queues).
    pub queue: Option<u16>,
}

const DETOURS: &str = "DETOURS";
const HOMES_MAP: &str = "HOMES";

/// The most tags that are apart: objects that copy or detour packets at the same time.
const TAGS: u64 = 255;

impl Object {
    /// Sends packets of a rule on a detour from now on; replaces what was set for them. A packet
    /// that is held keeps the home of its slot, so give a slot to something else only when its
    /// packets are back.
    pub fn set_detour(&mut self, at: DetourAt, via: DetourVia) -> Result<(), BpfError> {
        let DetourVia { device, class, slot, measured, queue } = via;
        if slot == 0 || u32::from(slot) >= HOMES - 1 {
            return Err(BpfError::NoRoom {
                what: "detour slots",
                needed: usize::from(slot),
                room: HOMES as usize - 2,
            });
        }
        let room = self.sizes().delays;
        if let Some(needed) = measured.filter(|&index| index >= room) {
            let (needed, room) = (needed as usize + 1, room as usize);
            return Err(BpfError::NoRoom { what: "measured ways", needed, room });
        }
        let room = self.sizes().queues;
        if let Some(needed) = queue.filter(|&queue| queue >= room) {
            let (needed, room) = (usize::from(needed) + 1, usize::from(room));
            return Err(BpfError::NoRoom { what: "queues of a delay line", needed, room });
        }
        let measure = match (queue, measured) {
            (Some(_), _) => measure::NUMBERED,
            (None, Some(_)) => measure::STAMPED,
            (None, None) => measure::NOT,
        };
        let queue = u32::from(queue.unwrap_or(0));
        let home = Home {
            ifindex: at.device,
            hook: at.hook.index() as u32,
            delays: measured.unwrap_or(u32::MAX),
            measure,
            queue,
        };
        let mut homes: Array<_, Home> =
            Array::try_from(map(self.ebpf(), HOMES_MAP)?).map_err(map_error(HOMES_MAP))?;
        homes.set(u32::from(slot), home, 0).map_err(map_error(HOMES_MAP))?;
        let detour = Detour {
            ifindex: device,
            priority: class.unwrap_or(0),
            slot: u32::from(slot),
            measure,
            queue,
        };
        let mut detours: HashMap<_, DetourKey, Detour> =
            HashMap::try_from(map(self.ebpf(), DETOURS)?).map_err(map_error(DETOURS))?;
        detours.insert(key(at), detour, 0).map_err(map_error(DETOURS))
    }

    /// Lets packets of a rule pass from now on. Those that are held still come back.
    pub fn clear_detour(&mut self, at: DetourAt) -> Result<(), BpfError> {
        let mut detours: HashMap<_, DetourKey, Detour> =
            HashMap::try_from(map(self.ebpf(), DETOURS)?).map_err(map_error(DETOURS))?;
        match detours.remove(&key(at)) {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            other => other.map_err(map_error(DETOURS)),
        }
    }

    /// Attaches the give-back program to the far side of a detour, which is in the namespace of the
    /// calling thread: the other end of a veth pair, or a TAP. An object can serve many.
    pub fn attach_give_back(
        &mut self,
        far_side: &Device,
        mechanism: Mechanism,
    ) -> Result<Attached, BpfError> {
        let program = TcProgram::named("chaos_give_back", TcAttachType::Ingress);
        self.attach_tc(far_side, program, mechanism)
    }

    /// Chooses a tag that no live object has: a token must not be taken for another object's. Of two
    /// that choose the same one at the same time, whoever published it later sees the other and
    /// gives way.
    pub(super) fn claim_tag(&mut self) -> Result<(), BpfError> {
        let own = match self.ebpf().map("CONTROL") {
            Some(aya::maps::Map::Array(data)) => data.info().map_err(map_error("CONTROL"))?.id(),
            _ => return Err(BpfError::Foreign { kind: "map", name: "CONTROL" }),
        };
        // Objects begin at different places, so that two do not keep giving way to each other.
        for attempt in 0..TAGS {
            let tag = (u64::from(own) + attempt) % TAGS + 1;
            if live_tags(own)?.contains(&tag) {
                continue;
            }
            self.control().publish(offset_of!(Control, tag), tag);
            if !live_tags(own)?.contains(&tag) {
                return Ok(());
            }
            self.control().publish(offset_of!(Control, tag), 0);
        }
        Err(BpfError::NoRoom {
            what: "runs that copy or detour packets at the same time",
            needed: TAGS as usize + 1,
            room: TAGS as usize,
        })
    }
}

/// The tags of all objects on this machine but the one with this control block.
fn live_tags(own: u32) -> Result<Vec<u64>, BpfError> {
    let mut tags = Vec::new();
    for info in loaded_maps() {
        // One that is gone meanwhile has no tag any more.
        let info = match info {
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {
                continue;
            }
            info => info.map_err(map_error("CONTROL"))?,
        };
        if info.id() == own || !is_control(&info) {
            continue;
        }
        let Ok(data) = MapData::from_id(info.id()) else { continue };
        let control = Array::<_, Control>::try_from(aya::maps::Map::Array(data))
            .map_err(map_error("CONTROL"))?
            .get(&0, 0)
            .map_err(map_error("CONTROL"))?;
        if control.tag != 0 {
            tags.push(control.tag);
        }
    }
    Ok(tags)
}

fn is_control(info: &MapInfo) -> bool {
    info.name_as_str() == Some("CONTROL") && info.value_size() == size_of::<Control>() as u32
}

fn key(at: DetourAt) -> DetourKey {
    DetourKey { rule: at.rule, ifindex: at.device, hook: at.hook.index() as u32 }
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut aya::maps::Map, BpfError> {
    ebpf.map_mut(name).ok_or(BpfError::Foreign { kind: "map", name })
}
