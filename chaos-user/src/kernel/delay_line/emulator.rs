//! What one slot decides about each packet. No IO, no clock: time is passed in.

use super::random::{Draws, Purpose};
use super::setting::{InvalidSetting, Order, Overflow, Setting};
use super::shaper::{Full, Shaper};

/// How many flows are told apart when their order is kept. Flows that share an entry only wait for
/// one another, which costs them delay but no order.
const FLOWS: usize = 1024;

/// What is known about a packet when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrived, in ns.
    pub at: u64,
    /// Its length on the wire in bytes, all segments together if segmentation is offloaded.
    pub bytes: u32,
    /// How many packets on the wire it stands for.
    pub packets: u32,
    /// The same for all packets of a flow, and hardly ever for two flows.
    pub flow: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is released at this time, in ns.
    Hold(u64),
    /// As [`Decision::Hold`], before others that arrived earlier.
    Overtake(u64),
    /// It cannot be held and goes on at once.
    Bypass,
    /// It is dropped.
    Drop,
}

/// The state of one slot.
#[derive(Debug)]
pub struct Emulator {
    setting: Setting,
    latency: u64,
    jitter: u64,
    delays: Draws,
    reorders: Draws,
    since_candidate: u32,
    shaper: Option<Shaper>,
    /// By flow, the release time of its last packet.
    flows: Box<[u64]>,
}

impl Emulator {
    /// A slot that does what `setting` says, reproducibly by `seed`.
    pub fn new(seed: u64, slot: u16, setting: Setting) -> Result<Self, InvalidSetting> {
        setting.validate()?;
        let reorder = setting.reorder.map_or(0.0, |reorder| reorder.correlation);
        Ok(Self {
            latency: setting.latency.as_nanos() as u64,
            jitter: setting.jitter.as_nanos() as u64,
            delays: Draws::new(seed, slot, Purpose::Delay, setting.correlation),
            reorders: Draws::new(seed, slot, Purpose::Reorder, reorder),
            since_candidate: 0,
            shaper: setting.rate.map(Shaper::new),
            flows: flows_for(setting.order),
            setting,
        })
    }

    /// Changes what is done from now on, as a ramp does many times. Random streams, the queue of
    /// the link and the order of flows go on.
    pub fn change(&mut self, setting: Setting) -> Result<(), InvalidSetting> {
        setting.validate()?;
        self.latency = setting.latency.as_nanos() as u64;
        self.jitter = setting.jitter.as_nanos() as u64;
        self.delays.set_correlation(setting.correlation);
        self.reorders.set_correlation(setting.reorder.map_or(0.0, |reorder| reorder.correlation));
        match (&mut self.shaper, setting.rate) {
            (Some(shaper), Some(rate)) => shaper.set_rate(rate),
            (shaper, rate) => *shaper = rate.map(Shaper::new),
        }
        if setting.order != self.setting.order {
            self.flows = flows_for(setting.order);
        }
        self.setting = setting;
        Ok(())
    }

    /// What is done.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Decides about one packet. `held` is how many packets of this slot are held, `room` whether
    /// the line has memory for one more.
    pub fn decide(&mut self, arrival: &Arrival, held: u64, room: bool) -> Decision {
        if !room || held >= u64::from(self.setting.limit) {
            return match self.setting.overflow {
                Overflow::Deliver => Decision::Bypass,
                Overflow::Drop => Decision::Drop,
            };
        }
        let sent = match &mut self.shaper {
            None => arrival.at,
            Some(shaper) => match shaper.admit(arrival.at, arrival.bytes, arrival.packets) {
                Ok(sent) => sent,
                Err(Full) => return Decision::Drop,
            },
        };
        if self.overtakes() {
            return Decision::Overtake(sent);
        }
        let offset = if self.jitter == 0 {
            0
        } else {
            self.setting.distribution.offset(self.jitter, self.delays.draw())
        };
        let delay = self.latency.saturating_add_signed(offset);
        let mut release = sent.saturating_add(delay);
        if !self.flows.is_empty() {
            let last = &mut self.flows[arrival.flow as usize % FLOWS];
            release = release.max(*last);
            *last = release;
        }
        Decision::Hold(release)
    }

    fn overtakes(&mut self) -> bool {
        let Some(reorder) = self.setting.reorder else { return false };
        self.since_candidate = self.since_candidate.saturating_add(1);
        if self.since_candidate < reorder.gap.get() {
            return false;
        }
        let chance = (reorder.chance * 2_f64.powi(32)) as u64;
        let chosen = u64::from(self.reorders.draw()) < chance;
        if chosen {
            self.since_candidate = 0;
        }
        chosen
    }
}

fn flows_for(order: Order) -> Box<[u64]> {
    match order {
        Order::Keep => vec![0; FLOWS].into(),
        Order::Free => Box::default(),
    }
}

#[cfg(test)]
#[path = "emulator_tests.rs"]
mod tests;
