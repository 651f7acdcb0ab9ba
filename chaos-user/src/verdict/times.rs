//! Times that are measured by looking again and again, and how exact they are.

use super::expectation::{Look, looks};
use super::timeline::Timeline;
use crate::experiment::Phase;
use crate::run::{Event, RunInfo};

/// How long something took until it was seen. Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timed {
    /// From when it could begin until the end of the look that saw it.
    pub(super) took: u64,
    /// How much earlier it may have happened: it had not yet when the last look began that did not
    /// see it.
    pub(super) bound: u64,
}

impl Timed {
    /// What could begin at `since` was seen by `look`, and `unseen` says when the last look began
    /// that did not see it.
    pub(super) fn of(since: u64, look: &Look<'_>, unseen: Option<u64>) -> Self {
        let earliest = unseen.map_or(since, |unseen| unseen.max(since));
        Self { took: look.ended.saturating_sub(since), bound: look.ended.saturating_sub(earliest) }
    }
}

/// How long it took until a fault was noticed: from when that fault was active until the end of the
/// first look under it that saw it.
pub(super) fn detected(info: &RunInfo, events: &[Event], timeline: &Timeline) -> Option<Timed> {
    let detectors = info.probes.iter().filter(|spec| spec.detects);
    let first = detectors.filter_map(|spec| {
        let mut unseen = None;
        for look in looks(events, timeline, &spec.name) {
            if look.result.met != Some(true) {
                unseen = Some(look.result.began);
            } else if look.phase == Some(Phase::Fault) {
                let since = timeline.fault_around(look.result.began, look.ended)?;
                return Some((look.ended, Timed::of(since, &look, unseen)));
            }
        }
        None
    });
    first.min_by_key(|(ended, _)| *ended).map(|(_, timed)| timed)
}
