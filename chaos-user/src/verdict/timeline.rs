//! Which phase of a run a moment belongs to.

use crate::experiment::{Phase, Phases};
use crate::run::{Event, What};

/// When a fault was what, in the log's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    arming: u64,
    /// A workload beside the faults, which makes no phase.
    beside: bool,
    active: Option<u64>,
    healing: Option<u64>,
    healed: Option<u64>,
}

impl Window {
    fn healing(&self) -> u64 {
        self.healing.unwrap_or(u64::MAX)
    }

    /// Whether it is in force for the whole of that time.
    fn covers(&self, from: u64, until: u64) -> bool {
        self.active.is_some_and(|active| active <= from) && until <= self.healing()
    }
}

/// What a look reaches into that overlaps with a change and with the time before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// The phases that it is about: each change counts to those on both of its sides.
    pub phases: Phases,
    /// Since when the fault was active that it first reaches into.
    pub since: u64,
}

/// The windows of all faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline(Vec<(String, Window)>);

impl Timeline {
    /// From the events of a run.
    pub fn of(events: &[Event]) -> Self {
        let mut windows: Vec<(String, Window)> = Vec::new();
        for event in events {
            let at = event.at;
            let mut latest = |name: &str, set: &dyn Fn(&mut Window)| {
                if let Some((_, window)) = windows.iter_mut().rev().find(|(n, _)| n == name) {
                    set(window);
                }
            };
            match &event.event {
                What::Arming(info) => {
                    let beside = info.beside;
                    let window =
                        Window { arming: at, beside, active: None, healing: None, healed: None };
                    windows.push((info.fault.clone(), window));
                }
                What::Active { fault } => latest(fault, &|window| window.active = Some(at)),
                What::Healing { fault } => latest(fault, &|window| window.healing = Some(at)),
                What::Healed(healed) => {
                    latest(&healed.fault, &|window| window.healed = Some(at));
                }
                _ => {}
            }
        }
        Self(windows)
    }

    fn faults(&self) -> impl Iterator<Item = &Window> {
        self.0.iter().map(|(_, window)| window).filter(|window| !window.beside)
    }

    /// The phase of something that began and ended then; `None` when it overlaps with a change.
    pub fn phase(&self, began: u64, ended: u64) -> Option<Phase> {
        if self.faults().all(|window| ended <= window.arming) {
            return Some(Phase::Before);
        }
        let inside = |window: &Window| {
            window.active.is_some_and(|active| active <= began)
                && window.healing.is_none_or(|healing| ended <= healing)
        };
        if self.faults().any(inside) {
            return Some(Phase::Fault);
        }
        (began >= self.healed()?).then_some(Phase::After)
    }

    /// What a look that belongs to no phase reaches into, if it can be held against the system under
    /// the fault: it began before a fault and went on into it, or went on until one was gone. `None`
    /// for what lies within a change or after a fault alone, where the system may be recovering.
    pub fn crossing(&self, began: u64, ended: u64) -> Option<Crossing> {
        if self.phase(began, ended).is_some() {
            return None;
        }
        let before = self.faults().map(|window| window.arming).min().is_some_and(|at| began < at);
        let active: Vec<u64> = self
            .faults()
            .filter(|window| began < window.healing())
            .filter_map(|window| Some((window.arming, window.active?)))
            .filter(|(arming, active)| ended > if before { *arming } else { *active })
            .map(|(_, active)| active)
            .collect();
        let latest = active.iter().copied().filter(|active| *active <= began).max();
        let since = latest.or_else(|| active.iter().copied().min())?;
        let forced = |from, until| self.faults().any(|window| window.covers(from, until));
        let healing = |window: &Window| {
            let healed = window.healed.unwrap_or(u64::MAX);
            began < healed && window.healing() < ended && !forced(window.healing(), healed)
        };
        // Armed when another was gone already.
        let again = |window: &Window| {
            let active = window.active.unwrap_or(u64::MAX);
            let later = self.faults().any(|other| other.healing() <= window.arming);
            began < active && window.arming < ended && later && !forced(window.arming, active)
        };
        let after = self.faults().any(|window| healing(window) || again(window));
        let first = self.faults().min_by_key(|window| window.arming)?;
        let before = began < first.active.unwrap_or(u64::MAX);
        Some(Crossing { phases: Phases { before, fault: true, after }, since })
    }

    /// When the fault that was active then had become so.
    pub fn active_since(&self, at: u64) -> Option<u64> {
        let starts = self.faults().filter_map(|window| window.active);
        starts.filter(|active| *active <= at).max()
    }

    /// Since when the fault was active that a look lies in; of several the first, because which of
    /// them it is about cannot be told.
    pub fn fault_around(&self, began: u64, ended: u64) -> Option<u64> {
        let around = self.faults().filter(|window| window.covers(began, ended));
        around.filter_map(|window| window.active).min()
    }

    /// When the first fault became active.
    pub fn first_active(&self) -> Option<u64> {
        self.faults().filter_map(|window| window.active).min()
    }

    /// When the last fault was healed; `None` while one is not.
    pub fn healed(&self) -> Option<u64> {
        let ends: Option<Vec<u64>> = self.faults().map(|window| window.healed).collect();
        ends?.into_iter().max()
    }

    /// How long a fault was active, in nanoseconds.
    pub fn lasted(&self, fault: &str) -> Option<u64> {
        let (_, window) = self.0.iter().find(|(name, _)| name == fault)?;
        Some(window.healing?.saturating_sub(window.active?))
    }

    /// When the faults became active and began to be healed, for shading.
    pub fn windows(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.0
            .iter()
            .filter(|(_, window)| !window.beside)
            .filter_map(|(name, window)| Some((name.as_str(), window.active?, window.healing?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Span;
    use crate::run::{FaultInfo, Healed};

    fn window(name: &str, beside: bool, [armed, active, healing, healed]: [u64; 4]) -> Vec<Event> {
        let fault = name.to_owned();
        let info = FaultInfo {
            fault: fault.clone(),
            lasts: Span::ZERO,
            beside,
            rules: Vec::new(),
            activity: serde_json::Value::Null,
        };
        let end = Healed { fault: fault.clone(), ..Healed::default() };
        let event = |at, event| Event { at, wall: String::new(), event };
        vec![
            event(armed, What::Arming(info)),
            event(active, What::Active { fault: fault.clone() }),
            event(healing, What::Healing { fault }),
            event(healed, What::Healed(end)),
        ]
    }

    #[test]
    fn traffic_beside_a_fault_makes_no_phase() {
        let mut events = window("traffic", true, [10, 11, 90, 91]);
        events.extend(window("cut", false, [30, 32, 50, 52]));
        events.sort_by_key(|event| event.at);
        let timeline = Timeline::of(&events);
        assert_eq!(timeline.phase(12, 20), Some(Phase::Before));
        assert_eq!(timeline.phase(33, 40), Some(Phase::Fault));
        assert_eq!(timeline.phase(48, 51), None);
        assert_eq!(timeline.phase(52, 60), Some(Phase::After));
        assert_eq!((timeline.first_active(), timeline.healed()), (Some(32), Some(52)));
        assert_eq!(timeline.lasted("traffic"), Some(79));
    }
}
