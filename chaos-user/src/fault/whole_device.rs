//! A whole device's netem as a run: journalled, with a deadline, healed on every way out.
//!
//! [`RootNetem`] does the work on one device; this gives it a namespace, a journal and evidence.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::{Entry, Journal, Record};
use super::ramp::Ramp;
use super::scope::find;
use super::{
    ActiveRootNetem, FaultError, Harm, RootNetem, RootNetemError, RootNetemHealed, RootNetemRecord,
    RuleEvidence, check_device, ways_in,
};
use crate::experiment::units::Span;
use crate::host::{self, SshSession, boot_time};
use crate::kernel::netlink::Netlink;
use crate::kernel::netlink::qdisc::{Counters, Netem, QdiscError, TcSocket};
use crate::kernel::netns::NetNs;

/// netem for everything that leaves one device.
#[derive(Debug, Clone)]
pub struct WholeDevice {
    /// What it is called in reports.
    pub name: String,
    /// Where the device is.
    pub netns: NetNs,
    /// Its name.
    pub device: String,
    /// What happens to the packets.
    pub netem: Netem,
    /// The process ends it after this long; no kernel does.
    pub lasts: Span,
    /// How long it takes until it has grown from a twentieth to the whole; zero is at once.
    pub ramp: Span,
    /// Go on although the device has qdiscs that cannot be put back.
    pub force: bool,
    /// Go on although an operator's session would not survive it.
    pub even_if_locked_out: bool,
    /// The operator's SSH sessions.
    pub sessions: Vec<SshSession>,
}

/// What a netem counted since it was put there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetemCounts {
    /// Packets that went through.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that it lost (or marked instead, with ecn), or had no room for.
    pub dropped: u64,
    /// Packets that wait in it.
    pub waiting: u64,
}

impl From<Counters> for NetemCounts {
    fn from(counters: Counters) -> Self {
        Self {
            sent: counters.packets,
            bytes: counters.bytes,
            dropped: counters.drops.into(),
            waiting: counters.queued.into(),
        }
    }
}

impl WholeDevice {
    /// Checks all that can be checked and says what is worth knowing. Touches nothing.
    pub fn preview(&self) -> Result<Vec<String>, FaultError> {
        let index = self.device()?;
        let plan = self.netns.run(|| self.plan(&mut open()?, index))??;
        host::netem()?.map_err(RootNetemError::from)?;
        Ok(plan.notes())
    }

    /// Brings it into force as a part of a run. On an error nothing is left behind.
    pub fn start_in(&self, journal: &Journal) -> Result<ActiveWholeDevice, FaultError> {
        let index = self.device()?;
        let plan = self.netns.run(|| self.plan(&mut open()?, index))??;
        let notes = plan.notes();
        let until = boot_time().saturating_add(self.lasts.nanos());
        let undo = Box::new(plan.undo().clone());
        let record = RootNetemRecord { netns: (&self.netns).into(), undo };
        let entry = journal.append(Record::RootNetem(record))?;
        let shown = journal.append(Record::Active { faults: Vec::new(), deadline: until })?;
        let active = ActiveWholeDevice {
            fault: self.clone(),
            notes,
            until,
            netem: Arc::default(),
            ramp: None,
            entries: vec![entry, shown],
            last: NetemCounts::default(),
        };
        let applied = self.netns.run(|| plan.apply(&mut open()?))?;
        active.with(applied)?.growing()
    }

    /// The device's number, if nothing stands against this fault there.
    fn device(&self) -> Result<u32, FaultError> {
        let links = self.netns.block_on(|| async { Netlink::open()?.links().await })??;
        let link = find(&self.device, &links, &self.netns)?;
        if !self.even_if_locked_out {
            let ways = ways_in(&self.netns, &self.sessions)?;
            check_device(&ways, &self.device, &self.harm())?;
        }
        Ok(link.index)
    }

    /// How far it reaches, for those who ask whether it may.
    pub fn harm(&self) -> Harm {
        Harm::of_netem(&self.netem)
    }

    fn plan(&self, tc: &mut TcSocket, index: u32) -> Result<RootNetem, RootNetemError> {
        // What is valid as a whole is valid in part.
        self.netem.validate()?;
        RootNetem::plan(tc, index, self.netem.scaled(Ramp::first(self.ramp)), self.force)
    }
}

fn open() -> Result<TcSocket, QdiscError> {
    TcSocket::open()
}

/// A whole device's netem in force. Dropping heals it.
#[must_use = "dropping it heals the device at once"]
#[derive(Debug)]
pub struct ActiveWholeDevice {
    fault: WholeDevice,
    notes: Vec<String>,
    until: u64,
    netem: Arc<Mutex<Option<ActiveRootNetem>>>,
    ramp: Option<Ramp>,
    entries: Vec<Entry>,
    last: NetemCounts,
}

impl ActiveWholeDevice {
    fn with(
        mut self,
        applied: Result<ActiveRootNetem, RootNetemError>,
    ) -> Result<Self, FaultError> {
        match applied {
            Ok(netem) => {
                *lock(&self.netem) = Some(netem);
                Ok(self)
            }
            Err(error) => {
                // What is still there is what the journal is for.
                if !matches!(error, RootNetemError::Stuck { .. }) {
                    self.entries.drain(..).for_each(Entry::done);
                }
                Err(error.into())
            }
        }
    }

    /// Time until it is to be healed.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.until.saturating_sub(boot_time()))
    }

    /// What it counted until now. What the kernel cannot tell any more stays as it was last.
    pub fn counts(&mut self) -> Result<NetemCounts, FaultError> {
        if let Some(netem) = &*lock(&self.netem) {
            let counters = self.fault.netns.run(|| netem.counters(&mut open()?))??;
            if let Some(counters) = counters {
                self.last = counters.into();
            }
        }
        Ok(self.last)
    }

    /// Lets it grow from now on, if it is to; packets that wait keep their time.
    fn growing(mut self) -> Result<Self, FaultError> {
        let WholeDevice { ramp, netem, netns, .. } = &self.fault;
        if *ramp > Span::ZERO {
            let (active, whole, netns) = (Arc::clone(&self.netem), netem.clone(), netns.clone());
            let grow = move |share| {
                if let Some(active) = &mut *lock(&active) {
                    // It fails when the device is gone, and then nothing is left to change.
                    let _ = netns.run(|| active.change(&mut open()?, whole.scaled(share)));
                }
            };
            self.ramp = Some(Ramp::start(*ramp, grow).map_err(FaultError::Ramp)?);
        }
        Ok(self)
    }

    /// What is worth knowing about it, what the kernel ignored included.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.notes.clone();
        if let Some(netem) = &*lock(&self.netem) {
            remarks.extend(netem.unconfirmed().iter().map(ToString::to_string));
        }
        let lossless = self.fault.netem.loss.is_none();
        if lossless && self.last.dropped > 0 {
            remarks.push(format!(
                "{} packets found no room among the {} that may wait and were dropped; raise the \
                 limit above rate × delay",
                self.last.dropped, self.fault.netem.limit
            ));
        }
        if !delays(&self.fault.netem) && lossless {
            remarks.push(
                "netem does not count what it duplicates, corrupts or reorders, so this alone \
                 proves nothing; faults by flow do count"
                    .to_owned(),
            );
        }
        remarks
    }

    /// Puts back what was there, and says what netem did.
    pub fn heal(mut self) -> Result<(NetemCounts, RuleEvidence, RootNetemHealed), FaultError> {
        let counts = self.counts();
        let healed = self.undo()?.unwrap_or(RootNetemHealed::DeviceGone);
        let counts = counts?;
        Ok((counts, evidence(&self.fault, counts), healed))
    }

    fn undo(&mut self) -> Result<Option<RootNetemHealed>, FaultError> {
        self.ramp = None;
        let Some(netem) = lock(&self.netem).take() else { return Ok(None) };
        let healed = self.fault.netns.run(|| netem.heal(&mut open()?))??;
        self.entries.drain(..).for_each(Entry::done);
        Ok(Some(healed))
    }
}

impl Drop for ActiveWholeDevice {
    fn drop(&mut self) {
        // What fails stays in the journal for `chaos heal`.
        let _ = self.undo();
    }
}

fn lock(netem: &Mutex<Option<ActiveRootNetem>>) -> MutexGuard<'_, Option<ActiveRootNetem>> {
    netem.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether every packet is held.
fn delays(netem: &Netem) -> bool {
    !netem.latency.is_zero() || netem.rate.is_some() || netem.slot.is_some()
}

fn evidence(fault: &WholeDevice, counts: NetemCounts) -> RuleEvidence {
    let met = counts.sent + counts.dropped + counts.waiting;
    let acted = if delays(&fault.netem) { met } else { counts.dropped };
    RuleEvidence {
        rule: format!("{}: {}", fault.name, fault.device),
        seen: met,
        matched: met,
        acted,
        bytes: counts.bytes,
    }
}
