//! Detours: packets of chosen flows go where they can be held, and come back.
//!
//! [`Detours`] says what is to happen to which rule's packets. [`Detour`] is that in one namespace:
//! devices, and the object's knowledge of them. Two holders mean the same: netem on a veth pair, and
//! the delay line behind a TAP. See [`crate::kernel::bpf::DetourVia`] for the contract with the
//! programs.

mod by_line;
mod by_netem;
mod error;
mod loopback;
mod measured;
mod options;
mod settings;

pub use error::DetourError;
pub use measured::{HeldCounters, MeasuredDelay, doubt, proven};
pub use options::LineOptions;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos_common::Hook;
use serde::{Deserialize, Serialize};

use self::by_line::ByLine;
use self::by_netem::ByNetem;
use super::FaultError;
use super::journal::{Entry, Journal};
use super::ramp::Ramp;
use crate::experiment::units::Span;
use crate::host;
use crate::kernel::bpf::{Attached, DetourAt, DetourVia, Device, Mechanism, Object};
use crate::kernel::delay_line::{Heartbeat, Slot, check_tun};
use crate::kernel::netlink::Link;
use crate::kernel::netns::NetNs;
use crate::plan::Impairment;

/// Who holds packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// netem where the kernel has it, else the delay line.
    #[default]
    Auto,
    /// The kernel's sch_netem.
    Netem,
    /// A thread of this process.
    DelayLine,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Netem => "netem",
            Self::DelayLine => "delay-line",
        })
    }
}

/// What happens to the packets of rules whose action is a detour.
#[derive(Debug, Clone, Default)]
pub struct Detours {
    /// Who holds them.
    pub backend: Backend,
    /// By place among the fault's rules.
    pub rules: Vec<(usize, Impairment)>,
    /// How the delay line works, if it is the one.
    pub line: LineOptions,
}

impl Detours {
    /// How many queues of a delay line the object needs room for, where this one holds the packets.
    pub(super) fn queues(&self, holder: Option<Backend>) -> u16 {
        if holder == Some(Backend::DelayLine) { self.line.threads().get() } else { 0 }
    }

    /// How many measurements the object needs room for.
    pub(super) fn measurements(&self) -> u32 {
        u32::try_from(self.rules.len()).map_or(MEASURED, |rules| rules.min(MEASURED))
    }

    /// Checks every setting, and says who would hold the packets; `None` if there are no detours.
    /// Touches nothing.
    pub(super) fn check(&self) -> Result<Option<Backend>, DetourError> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let netem = match self.backend {
            Backend::DelayLine => false,
            asked => match host::netem()? {
                Ok(()) => true,
                Err(error) if asked == Backend::Netem => return Err(DetourError::NoNetem(error)),
                Err(_) => false,
            },
        };
        let backend = self.choose(netem)?;
        if backend == Backend::DelayLine {
            check_tun().map_err(|error| match (self.backend, netem) {
                (Backend::Auto, false) => DetourError::NoHolder(error),
                _ => error.into(),
            })?;
        }
        Ok(Some(backend))
    }

    /// Who holds the packets, where the kernel has netem or not; refuses what that one cannot do.
    pub(crate) fn choose(&self, netem: bool) -> Result<Backend, DetourError> {
        self.line.check()?;
        match (self.backend, self.by_netem()) {
            (Backend::Netem, can) => can.map(|()| Backend::Netem),
            (Backend::Auto, Ok(())) if netem => Ok(Backend::Netem),
            _ => {
                for (_, impairment) in &self.rules {
                    settings::line(impairment).validate()?;
                }
                Ok(Backend::DelayLine)
            }
        }
    }

    /// Whether netem can do all of it.
    fn by_netem(&self) -> Result<(), DetourError> {
        if let Some(what) = self.line.only_line() {
            return Err(DetourError::OnlyLine(what));
        }
        for (_, impairment) in &self.rules {
            if impairment.keep_order {
                let what = "keep packets in order in spite of jitter (--keep-order)";
                return Err(DetourError::OnlyLine(what));
            }
            settings::netem(impairment, 0).validate()?;
        }
        Ok(())
    }
}

/// Rules whose delay is measured; a measurement takes 104 KiB of the kernel's memory.
const MEASURED: u32 = 128;

/// Where the delay of a rule is measured, by its place in [`Detours::rules`].
fn measurement(impairment: usize) -> Option<u32> {
    u32::try_from(impairment).ok().filter(|&number| number < MEASURED)
}

/// The packets of one rule at one place, by the number of what happens to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) at: DetourAt,
    /// Place in [`Detours::rules`].
    pub(super) impairment: usize,
}

/// Those who hold packets, in one namespace.
#[derive(Debug)]
enum Holder {
    Netem(Box<ByNetem>),
    Line(ByLine),
}

/// Detours in one namespace. Dropping them without [`Self::tear_down`] leaves what this process
/// does not take along to the journal.
#[derive(Debug)]
pub(super) struct Detour {
    holder: Arc<Mutex<Holder>>,
    heartbeat: Option<Heartbeat>,
    name: String,
    give_back: Option<Attached>,
    settings: Vec<Entry>,
    ramp: Option<Ramp>,
    /// What happens to packets at first, by place among the fault's rules.
    smallest: Vec<(usize, Impairment)>,
}

/// What a detour needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) netns: &'a NetNs,
    pub(super) journal: &'a Journal,
    pub(super) mechanism: Mechanism,
    pub(super) seed: u64,
    /// The devices whose packets are taken aside.
    pub(super) devices: &'a [&'a Link],
}

impl Detour {
    /// Makes the devices of the holder that [`Detours::check`] names, journalled first, and tells the
    /// object what share of the whole to begin with. Nothing is taken aside before the object's detour
    /// lease is extended.
    pub(super) fn set_up(
        (detours, backend, first): (&Detours, Backend, f64),
        ways: &[Way],
        object: &mut Object,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, FaultError> {
        if ways.len() > usize::from(Slot::MAX.get()) {
            return Err(DetourError::TooMany { needed: ways.len() }.into());
        }
        let settings = loopback::prepare(surroundings)?;
        let made = match backend {
            Backend::Netem => ByNetem::make(detours, first, surroundings)
                .map(|netem| Holder::Netem(Box::new(netem))),
            _ => ByLine::make(detours, first, ways, object, surroundings).map(Holder::Line),
        };
        let mut holder = match made {
            Ok(holder) => holder,
            Err(error) => {
                loopback::put_back(settings);
                return Err(error);
            }
        };
        let (heartbeat, name) = match &mut holder {
            Holder::Netem(netem) => (None, netem.name()),
            Holder::Line(line) => (Some(line.heartbeat()), line.name()?),
        };
        let far_side = holder.far_side();
        let vias: Vec<(DetourAt, DetourVia)> = ways
            .iter()
            .zip(1..)
            .map(|(way, slot)| (way.at, holder.via(way.impairment, slot)))
            .collect();
        let mut detour = Self {
            holder: Arc::new(Mutex::new(holder)),
            heartbeat,
            name,
            give_back: None,
            settings,
            ramp: None,
            smallest: detours.rules.iter().map(|(at, one)| (*at, one.scaled(first))).collect(),
        };
        let tell = || -> Result<(), FaultError> {
            for (at, via) in vias {
                object.set_detour(at, via)?;
            }
            let mechanism = surroundings.mechanism;
            let attach = || object.attach_give_back(&far_side, mechanism);
            detour.give_back = Some(surroundings.netns.run(attach)??);
            Ok(())
        };
        if let Err(error) = tell() {
            detour.tear_down(object, surroundings.netns);
            return Err(error);
        }
        Ok(detour)
    }

    /// Lets the fault grow from now on, if it is to.
    pub(super) fn start_ramp(&mut self, ramp: Span) -> Result<(), FaultError> {
        if ramp > Span::ZERO {
            let holder = Arc::clone(&self.holder);
            let grow = move |share| lock(&holder).scale(share);
            let ramp = Ramp::start(ramp, grow).map_err(DetourError::Thread)?;
            self.ramp = Some(ramp);
        }
        Ok(())
    }

    /// Whose death must end the detour; `None` if the kernel holds the packets.
    pub(super) fn heartbeat(&self) -> Option<Heartbeat> {
        self.heartbeat.clone()
    }

    /// Who holds the packets, in words.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How long packets were held and what became of them, by rule.
    pub(super) fn measured(
        &self,
        object: &Object,
        name: &dyn Fn(usize) -> String,
    ) -> Result<Vec<MeasuredDelay>, DetourError> {
        let (mut measured, counters) = match &mut *lock(&self.holder) {
            Holder::Netem(netem) => (netem.measured(object, name)?, netem.counters()),
            Holder::Line(line) => (line.measured(object, name)?, line.counters()),
        };
        let mut all = Vec::new();
        for ((number, (slot, smallest)), counters) in (0..).zip(&self.smallest).zip(counters) {
            let own = measured.iter().position(|one| one.slot == *slot);
            let own = own.map(|at| measured.swap_remove(at));
            // Nothing is known about those that are not measured.
            if own.is_some() || number < MEASURED {
                all.push(own.unwrap_or_default().of(*slot, name(*slot), smallest, counters));
            }
        }
        Ok(all)
    }

    /// What is worth a warning, besides what [`Self::measured`] tells.
    pub(super) fn remarks(&self) -> Vec<String> {
        match &*lock(&self.holder) {
            Holder::Netem(netem) => netem.remarks(),
            Holder::Line(line) => line.remarks(),
        }
    }

    /// Gives back what is held. The rules must not take packets aside any more.
    pub(super) fn release(&mut self) {
        self.ramp = None;
        match &mut *lock(&self.holder) {
            Holder::Netem(netem) => netem.drain(),
            Holder::Line(line) => line.end(),
        }
    }

    /// Gives back what is held, takes the devices away, and restores settings. The rules must not
    /// take packets aside any more. What could not be done is described.
    pub(super) fn tear_down(&mut self, object: &mut Object, netns: &NetNs) -> Vec<String> {
        self.release();
        let mut left = Vec::new();
        let mut holder = lock(&self.holder);
        if let Some(attached) = self.give_back.take() {
            // The device may be gone, and its program with it; a link is gone with this in any case.
            let _ = netns.run(|| object.detach(attached));
        }
        if let Holder::Netem(netem) = &mut *holder {
            left.extend(netem.remove());
        }
        drop(holder);
        left.extend(loopback::put_back(std::mem::take(&mut self.settings)));
        left
    }
}

impl Holder {
    fn via(&self, impairment: usize, slot: u16) -> DetourVia {
        match self {
            Self::Netem(netem) => netem.via(impairment, slot),
            Self::Line(line) => line.via(impairment, slot),
        }
    }

    fn far_side(&self) -> Device {
        match self {
            Self::Netem(netem) => netem.far_side(),
            Self::Line(line) => line.far_side(),
        }
    }

    /// This share of the whole from now on.
    fn scale(&mut self, share: f64) {
        // It fails when the device is gone, and then nothing is left to change.
        match self {
            Self::Netem(netem) => drop(netem.scale(share)),
            Self::Line(line) => drop(line.scale(share)),
        }
    }
}

fn lock(holder: &Mutex<Holder>) -> std::sync::MutexGuard<'_, Holder> {
    holder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a device is one of a detour, which faults must leave alone.
pub(super) fn is_detour(name: &str) -> bool {
    name.starts_with("chaosd") || name.starts_with(by_netem::PREFIX)
}

/// Longest that is waited for packets to come back by themselves.
const DRAIN: Duration = Duration::from_secs(2);

/// The hooks that can take packets aside.
pub(super) const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];

#[cfg(test)]
mod tests {
    use super::*;

    fn detours(backend: Backend, impairment: Impairment) -> Detours {
        let latency = Span::from_ms(5);
        let rules = vec![(0, Impairment::default()), (1, Impairment { latency, ..impairment })];
        Detours { backend, rules, ..Detours::default() }
    }

    fn threads(number: u16) -> Option<std::num::NonZeroU16> {
        std::num::NonZeroU16::new(number)
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let none = LineOptions::default;
        for (line, message) in [
            (LineOptions { threads: threads(17), ..none() }, "`threads` 17; it is 1 to 16"),
            (
                LineOptions { spin: Some(Span::from_ms(2)), ..none() },
                "`spin` 2ms; it is at most 1ms",
            ),
            (LineOptions { priority: Some(100), ..none() }, "`priority` 100; it is 0 to 99"),
        ] {
            let asked = Detours { line, ..detours(Backend::Auto, Impairment::default()) };
            let refused = asked.choose(true).unwrap_err();
            assert!(refused.to_string().ends_with(message), "{refused}");
            assert_eq!(refused.exit(), crate::exit::Exit::Usage);
        }
        let widest = LineOptions {
            threads: threads(16),
            spin: Some(Span::from_ms(1)),
            priority: Some(99),
            per_packet: true,
        };
        let asked = Detours { line: widest, ..detours(Backend::Auto, Impairment::default()) };
        assert_eq!(
            (asked.choose(true).unwrap(), asked.queues(Some(Backend::DelayLine))),
            (Backend::DelayLine, 16)
        );
        assert_eq!(asked.queues(Some(Backend::Netem)), 0);
    }

    #[test]
    fn auto_takes_whoever_can() {
        use Backend::{Auto, DelayLine, Netem};
        let simple = |backend| detours(backend, Impairment::default());
        assert_eq!(simple(Auto).choose(true).unwrap(), Netem);
        assert_eq!(simple(Auto).choose(false).unwrap(), DelayLine);
        assert_eq!(simple(DelayLine).choose(true).unwrap(), DelayLine);
        let wide = Impairment { jitter: Span::from_secs(3), ..Impairment::default() };
        let ordered = Impairment { keep_order: true, ..Impairment::default() };
        let none = LineOptions::default;
        for (impairment, line, message) in [
            (wide, none(), "--backend netem cannot do this"),
            (ordered, none(), "--keep-order"),
            (Impairment::default(), LineOptions { per_packet: true, ..none() }, "--per-packet"),
            (Impairment::default(), LineOptions { threads: threads(2), ..none() }, "--threads"),
            (Impairment::default(), LineOptions { spin: Some(Span::ZERO), ..none() }, "--spin"),
            (Impairment::default(), LineOptions { priority: Some(0), ..none() }, "--priority"),
        ] {
            let asking =
                |backend| Detours { line: line.clone(), ..detours(backend, impairment.clone()) };
            assert_eq!(asking(Auto).choose(true).unwrap(), DelayLine, "{message}");
            let refused = asking(Netem).choose(true).unwrap_err();
            assert!(refused.to_string().contains(message), "{refused}");
            assert_eq!(refused.exit(), crate::exit::Exit::Usage);
        }
        let endless = Impairment { jitter: Span::from_secs(3601), ..Impairment::default() };
        let refused = detours(Auto, endless).choose(true).unwrap_err().to_string();
        assert!(refused.starts_with("the delay line cannot do this: a jitter"), "{refused}");
    }
}
