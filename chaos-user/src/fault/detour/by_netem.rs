//! Packets held by netem, on a veth pair inside the namespace.

use std::time::{Duration, Instant};

use super::settings::netem;
use super::{
    DRAIN, DetourError, Detours, HeldCounters, MEASURED, MeasuredDelay, Surroundings, measurement,
};
use crate::fault::FaultError;
use crate::fault::LinkUndo;
use crate::fault::journal::{Entry, Record};
use crate::kernel::bpf::{BpfError, DetourVia, Device, Object};
use crate::kernel::netlink::qdisc::{DetourTree, Handle, Netem, TcSocket};
use crate::kernel::netlink::{Link, Netlink, NetlinkError};
use crate::kernel::netns::NetNs;
use crate::plan::Impairment;

/// Names of detour devices begin with this; the number is their own.
pub(super) const PREFIX: &str = "chaosn";
/// The longest that a veth takes. So packets fit, whatever becomes of the devices' own limits.
const MTU: u32 = 65_535;
/// How often a number that is taken meanwhile is tried again.
const ATTEMPTS: u32 = 8;

/// A veth pair whose near end has a tree of netems.
#[derive(Debug)]
pub(super) struct ByNetem {
    near: (u32, String),
    far: (u32, String),
    entry: Option<Entry>,
    tree: Option<DetourTree>,
    tc: TcSocket,
    classes: Vec<Handle>,
    /// By place among the fault's rules.
    rules: Vec<(usize, Impairment)>,
    seed: u64,
    unconfirmed: Vec<String>,
    /// By rule, the packets that had not come back when that was last waited for.
    lost: Option<Vec<u64>>,
}

impl ByNetem {
    pub(super) fn make(
        detours: &Detours,
        share: f64,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, FaultError> {
        let Surroundings { netns, seed, .. } = surroundings;
        let (near, far, entry) = make_pair(surroundings)?;
        let built = || -> Result<Self, DetourError> {
            let mut tc = netns.run(TcSocket::open)??;
            let tree = DetourTree::install(&mut tc, near.0, None)?;
            let mut made = Self {
                near,
                far,
                entry: None,
                tree: Some(tree),
                tc,
                classes: Vec::new(),
                rules: detours.rules.clone(),
                seed: *seed,
                unconfirmed: Vec::new(),
                lost: None,
            };
            for number in 0..made.rules.len() {
                made.add(number, share)?;
            }
            Ok(made)
        };
        match built() {
            Ok(made) => Ok(Self { entry: Some(entry), ..made }),
            Err(error) => {
                // What fails here stays in the journal.
                let _ = entry.undo();
                Err(error.into())
            }
        }
    }

    fn netem(&self, number: usize, share: f64) -> Netem {
        let seed = chaos_common::decide::mix(self.seed, number as u64);
        netem(&self.rules[number].1.scaled(share), seed)
    }

    fn add(&mut self, number: usize, share: f64) -> Result<(), DetourError> {
        let wanted = self.netem(number, share);
        let Some(tree) = &mut self.tree else { return Ok(()) };
        let applied = tree.add(&mut self.tc, &wanted)?;
        self.classes.push(applied.place.parent);
        for one in applied.unconfirmed {
            let text = one.to_string();
            if !self.unconfirmed.contains(&text) {
                self.unconfirmed.push(text);
            }
        }
        Ok(())
    }

    pub(super) fn scale(&mut self, share: f64) -> Result<(), DetourError> {
        for number in 0..self.classes.len() {
            let (wanted, class) = (self.netem(number, share), self.classes[number]);
            if let Some(tree) = &mut self.tree {
                tree.change(&mut self.tc, class, &wanted)?;
            }
        }
        Ok(())
    }

    pub(super) fn name(&self) -> String {
        let steering = self.tree.as_ref().map(|tree| tree.steering().to_string());
        format!("netem ({}, steered by {})", self.near.1, steering.unwrap_or_default())
    }

    pub(super) fn via(&self, impairment: usize, slot: u16) -> DetourVia {
        let class = self.classes.get(impairment).map(|class| class.to_u32());
        let measured = measurement(impairment);
        DetourVia { device: self.near.0, class, slot, measured, queue: None }
    }

    pub(super) fn measured(
        &self,
        object: &Object,
        name: &dyn Fn(usize) -> String,
    ) -> Result<Vec<MeasuredDelay>, BpfError> {
        let mut measured = Vec::new();
        for (number, (rule, _)) in (0..MEASURED).zip(&self.rules) {
            let held = object.held_times(number)?;
            measured.extend(MeasuredDelay::by_kernel(*rule, name(*rule), &held));
        }
        Ok(measured)
    }

    pub(super) fn far_side(&self) -> Device {
        Device { index: self.far.0, name: self.far.1.clone(), ethernet: true }
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.unconfirmed.clone()
    }

    /// What became of the packets of each rule. Rules that share a netem, because their settings are
    /// equal, are told at the first of them.
    pub(super) fn counters(&mut self) -> Vec<HeldCounters> {
        // A device that is gone has no counters any more.
        let qdiscs = self.tc.qdiscs(self.near.0).unwrap_or_default();
        let own = |number: usize| {
            let class = self.classes.get(number)?;
            let shared = self.classes[..number].contains(class);
            qdiscs.iter().find(|one| one.parent == *class).filter(|_| !shared)
        };
        let counters = |number: usize| HeldCounters {
            dropped: own(number).map(|one| u64::from(one.counters.drops)),
            lost: self.lost.as_ref().and_then(|lost| lost.get(number).copied()),
            ..HeldCounters::default()
        };
        (0..self.rules.len()).map(counters).collect()
    }

    /// Waits once until what is held has come back, as long as that can take but not for ever.
    pub(super) fn drain(&mut self) {
        if self.lost.is_some() {
            return;
        }
        let longest = self.rules.iter().map(|(_, one)| match one.bottleneck {
            // What waits for a slow link may take any time.
            Some(_) => u64::MAX,
            None => one.longest().nanos(),
        });
        let longest = Duration::from_nanos(longest.max().unwrap_or(0));
        let until = Instant::now() + longest.saturating_add(Duration::from_millis(50)).min(DRAIN);
        loop {
            let held: Vec<u64> = match self.tc.qdiscs(self.near.0) {
                // The device is gone, and what it held.
                Err(_) => return,
                Ok(qdiscs) => (0..self.classes.len())
                    .map(|number| {
                        let class = self.classes[number];
                        let shared = self.classes[..number].contains(&class);
                        let own = qdiscs.iter().find(|one| one.parent == class && !shared);
                        own.map_or(0, |one| u64::from(one.counters.queued))
                    })
                    .collect(),
            };
            if held.iter().all(|held| *held == 0) || Instant::now() >= until {
                self.lost = Some(held);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes the pair away; what could not be is described.
    pub(super) fn remove(&mut self) -> Option<String> {
        // The tree goes with its device.
        self.tree = None;
        let error = self.entry.take()?.undo().err()?;
        Some(format!("the detour device {}: {error}", self.near.1))
    }
}

type Named = (u32, String);

/// Makes the pair, the record of it first, and brings it up.
fn make_pair(surroundings: &Surroundings<'_>) -> Result<(Named, Named, Entry), FaultError> {
    let Surroundings { netns, journal, .. } = surroundings;
    let mut attempt = 0;
    loop {
        let links = netns.block_on(|| async { Netlink::open()?.links().await })??;
        let free = links.iter().map(|link| link.index).max().unwrap_or(0) + 1 + attempt;
        let near = (free, format!("{PREFIX}{free}"));
        let far = (free + 1, format!("{PREFIX}{}", free + 1));
        let entry = journal.append(Record::DetourLink(LinkUndo {
            netns: (*netns).into(),
            index: near.0,
            name: near.1.clone(),
        }))?;
        match make(netns, &near, &far) {
            Ok(()) => return Ok((near, far, entry)),
            Err(error) => {
                // It may be another run's of the same number: then it is not ours to delete.
                let taken = matches!(&error, DetourError::Netlink(NetlinkError::Refused { errno, .. })
                    if *errno == nix::errno::Errno::EEXIST || *errno == nix::errno::Errno::EBUSY);
                if !taken {
                    let _ = entry.undo();
                    return Err(error.into());
                }
                entry.done();
                attempt += 1;
                if attempt == ATTEMPTS {
                    return Err(error.into());
                }
            }
        }
    }
}

fn make(netns: &NetNs, near: &Named, far: &Named) -> Result<(), DetourError> {
    let made = netns.block_on(|| async {
        let netlink = Netlink::open()?;
        netlink.add_veth((&near.1, near.0), (&far.1, far.0), netns).await?;
        for (_, name) in [near, far] {
            // Router solicitations would only be strays. Where IPv6 is off there is nothing to
            // switch.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
            let link: Link = netlink.link(name).await?;
            netlink.set_mtu(&link, MTU).await?;
            netlink.set_up(&link).await?;
        }
        Netlink::wait_running(&[&near.1, &far.1], Duration::from_secs(5)).await
    });
    made?.map_err(Into::into)
}
