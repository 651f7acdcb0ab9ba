//! Packets held by the delay line: a TAP and a thread of this process.

use std::sync::Arc;

use super::settings::line;
use super::{DetourError, Detours, HeldCounters, MeasuredDelay, Surroundings, Way, measurement};
use crate::fault::FaultError;
use crate::kernel::bpf::{BpfError, DetourVia, Device, Object};
use crate::kernel::delay_line::{
    Config, Counters, DelayLine, DelayLineError, Durations, Evidence, Heartbeat, Parallel,
    Scheduling, Slot,
};
use crate::kernel::netlink::Netlink;
use crate::plan::Impairment;

/// The longest that a TAP takes: 64 KiB less an Ethernet header. So packets fit, whatever becomes of
/// the devices' own limits.
const MTU: u32 = 65_521;

/// A delay line and what its slots stand for.
#[derive(Debug)]
pub(super) struct ByLine {
    line: Option<DelayLine>,
    name: String,
    index: u32,
    threads: u16,
    slots: Vec<(Slot, Way)>,
    rules: Vec<(usize, Impairment)>,
    last: Vec<(Slot, Evidence)>,
    ended: Vec<String>,
}

impl ByLine {
    pub(super) fn make(
        detours: &Detours,
        share: f64,
        ways: &[Way],
        object: &mut Object,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, FaultError> {
        let Surroundings { netns, seed, .. } = surroundings;
        let threads = detours.line.threads();
        let parallel = match threads.get() {
            1 => None,
            _ => Some(Parallel { queues: threads, steering: Arc::new(object.steering()?) }),
        };
        let config = Config {
            netns: Some((*netns).clone()),
            seed: *seed,
            departures: Some(object.departures()?),
            parallel,
            ..detours.line.config()
        };
        // Nothing is journalled: the device is gone with this process.
        let line = DelayLine::start(config).map_err(DetourError::from)?;
        let (name, index) = (line.tap_name().to_owned(), line.tap_index());
        let set = netns.block_on(|| async {
            let netlink = Netlink::open()?;
            let link = netlink.link(&name).await?;
            netlink.set_mtu(&link, MTU).await
        });
        set.map_err(DetourError::from)?.map_err(DetourError::from)?;
        let slots: Vec<(Slot, Way)> =
            ways.iter().zip(1..).filter_map(|(way, n)| Some((Slot::new(n)?, *way))).collect();
        let rules = detours.rules.clone();
        let made = Self {
            line: Some(line),
            name,
            index,
            threads: threads.get(),
            slots,
            rules,
            last: Vec::new(),
            ended: Vec::new(),
        };
        made.scale(share)?;
        Ok(made)
    }

    pub(super) fn scale(&self, share: f64) -> Result<(), DetourError> {
        let Some(delay_line) = &self.line else { return Ok(()) };
        for (slot, way) in &self.slots {
            let Some((_, impairment)) = self.rules.get(way.impairment) else { continue };
            delay_line.set(*slot, way.at.device, line(&impairment.scaled(share)))?;
        }
        Ok(())
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.line.as_ref().map(DelayLine::heartbeat).unwrap_or_default()
    }

    pub(super) fn name(&self) -> Result<String, DetourError> {
        let scheduling = match &self.line {
            Some(line) => line.status()?.scheduling,
            None => return Ok(self.name.clone()),
        };
        let class = match scheduling {
            Scheduling::Realtime(_) => "real-time",
            _ => "ordinary",
        };
        let threads = match self.threads {
            1 => format!("{class} thread"),
            threads => format!("{threads} {class} threads"),
        };
        Ok(format!("delay line ({}, {threads})", self.name))
    }

    pub(super) fn via(&self, impairment: usize, slot: u16) -> DetourVia {
        let measured = measurement(impairment);
        let queue = slot % self.threads;
        DetourVia { device: self.index, class: None, slot, measured, queue: Some(queue) }
    }

    pub(super) fn far_side(&self) -> Device {
        Device { index: self.index, name: self.name.clone(), ethernet: true }
    }

    fn evidence(&self) -> Vec<(Slot, Evidence)> {
        let Some(line) = &self.line else { return self.last.clone() };
        let slots = self.slots.iter();
        slots.filter_map(|(slot, _)| Some((*slot, line.evidence(*slot).ok()??))).collect()
    }

    /// What the slots of one rule did.
    fn own<'a>(
        &'a self,
        number: usize,
        evidence: &'a [(Slot, Evidence)],
    ) -> impl Iterator<Item = &'a Evidence> + Clone {
        let own = move |slot: Slot| {
            self.slots.iter().any(|(one, way)| *one == slot && way.impairment == number)
        };
        evidence.iter().filter(move |(slot, _)| own(*slot)).map(|(_, one)| one)
    }

    /// By the kernel. What has no number, super-packets above all, is measured by the thread, where there
    /// is nothing else.
    pub(super) fn measured(
        &self,
        object: &Object,
        name: &dyn Fn(usize) -> String,
    ) -> Result<Vec<MeasuredDelay>, BpfError> {
        let evidence = self.evidence();
        let mut measured = Vec::new();
        for (number, (rule, _)) in self.rules.iter().enumerate() {
            if let Some(index) = measurement(number)
                && let Some(one) =
                    MeasuredDelay::by_kernel(*rule, name(*rule), &object.held_times(index)?)
            {
                measured.push(one);
                continue;
            }
            let mut held = Durations::default();
            for one in self.own(number, &evidence) {
                held.add(&one.hold);
            }
            if let (Some(mean), Some(p50), Some(p99)) =
                (held.mean(), held.quantile(0.5), held.quantile(0.99))
            {
                let times = [mean, p50, p99];
                measured.push(MeasuredDelay::new(*rule, name(*rule), held.count(), times));
            }
        }
        Ok(measured)
    }

    /// What became of the packets of each rule.
    pub(super) fn counters(&self) -> Vec<HeldCounters> {
        let evidence = self.evidence();
        let of = |number: usize| {
            let own = self.own(number, &evidence).map(|one| one.counters);
            let sum = |count: fn(Counters) -> u64| Some(own.clone().map(count).sum());
            HeldCounters {
                dropped: sum(|one| one.dropped),
                early: sum(|one| one.early),
                lost: None,
                bypassed: sum(|one| one.bypassed),
                late: sum(|one| one.late),
                overtook: sum(|one| one.overtook),
                refused: sum(|one| one.refused),
                released: sum(|one| one.released),
            }
        };
        (0..self.rules.len()).map(of).collect()
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.troubles()
    }

    /// What went wrong with the thread itself.
    fn troubles(&self) -> Vec<String> {
        let Some(line) = &self.line else { return self.ended.clone() };
        let mut troubles = Vec::new();
        match line.status() {
            Ok(status) => {
                if let Some(overruns @ 1..) = status.overruns {
                    let what = "packets were dropped: they came faster than the delay line reads";
                    troubles.push(format!("{overruns} {what}"));
                }
                if status.strays > 0 {
                    let strays = status.strays;
                    troubles.push(format!("{strays} frames on the delay line were nobody's"));
                }
            }
            Err(stalled @ DelayLineError::Stalled(_)) => troubles.push(stalled.to_string()),
            // Why it has ended is told when it is stopped.
            _ => {}
        }
        if line.heartbeat().last().is_none() {
            troubles.push("the delay line ended early; packets passed from then on".to_owned());
        }
        troubles
    }

    /// Delivers what is held, and ends the thread and the device.
    pub(super) fn end(&mut self) {
        self.ended = self.troubles();
        let Some(line) = self.line.take() else { return };
        let (outcome, evidence) = line.stop();
        self.last = evidence;
        if let Err(error) = outcome {
            let text = error.to_string();
            if !self.ended.contains(&text) {
                self.ended.push(text);
            }
        }
    }
}
