//! Which phase of a run a moment belongs to.

use crate::experiment::Phase;
use crate::run::{Event, What};

/// When a fault was what, in the log's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    arming: u64,
    active: Option<u64>,
    healing: Option<u64>,
    healed: Option<u64>,
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
                    let window = Window { arming: at, active: None, healing: None, healed: None };
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

    /// The phase of something that began and ended then; `None` when it overlaps with a change.
    pub fn phase(&self, began: u64, ended: u64) -> Option<Phase> {
        if self.0.iter().all(|(_, window)| ended <= window.arming) {
            return Some(Phase::Before);
        }
        let inside = |window: &Window| {
            window.active.is_some_and(|active| active <= began)
                && window.healing.is_none_or(|healing| ended <= healing)
        };
        if self.0.iter().any(|(_, window)| inside(window)) {
            return Some(Phase::Fault);
        }
        (began >= self.healed()?).then_some(Phase::After)
    }

    /// When the fault that was active then had become so.
    pub fn active_since(&self, at: u64) -> Option<u64> {
        let starts = self.0.iter().filter_map(|(_, window)| window.active);
        starts.filter(|active| *active <= at).max()
    }

    /// When the first fault became active.
    pub fn first_active(&self) -> Option<u64> {
        self.0.iter().filter_map(|(_, window)| window.active).min()
    }

    /// When the last fault was healed; `None` while one is not.
    pub fn healed(&self) -> Option<u64> {
        let ends: Option<Vec<u64>> = self.0.iter().map(|(_, window)| window.healed).collect();
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
            .filter_map(|(name, window)| Some((name.as_str(), window.active?, window.healing?)))
    }
}
