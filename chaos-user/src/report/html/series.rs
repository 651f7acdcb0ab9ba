//! What is drawn over time: the looks of a probe, and the operations of a workload.

use std::collections::BTreeMap;

use super::axis::Axis;
use crate::report::terminal::moment;
use crate::run::{Event, ProbeResult, Role, RunInfo, What};
use crate::workload::{Operation, State};

/// Something that took its time.
pub(super) struct Point {
    pub(super) began: u64,
    pub(super) took: u64,
    /// Whether it is as it should be.
    pub(super) good: bool,
    /// What was seen, when it is not.
    pub(super) seen: String,
}

/// What points are, and what a bad one is called.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) kind: &'static str,
    pub(super) bad: &'static str,
}

pub(super) const LOOKS: Words = Words { title: "Looks", kind: "looks", bad: "not as expected" };
pub(super) const OPERATIONS: Words =
    Words { title: "Operations", kind: "operations", bad: "refused or in doubt" };

/// Points of one kind, in the order of their ends.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
    /// Points no further apart than this are joined by a line.
    pub(super) joined: Option<u64>,
}

impl Point {
    pub(super) const fn ended(&self) -> u64 {
        self.began.saturating_add(self.took)
    }
}

impl Series {
    pub(super) fn bad(&self) -> usize {
        self.points.iter().filter(|point| !point.good).count()
    }

    /// Of the points that fall on the same place, the slowest of each kind, so that a long run makes
    /// no large page.
    pub(super) fn thinned(&self, axis: Axis) -> Vec<&Point> {
        let place = |point: &Point| (axis.x(point.ended()) as i64, point.good);
        let mut points: Vec<&Point> = Vec::new();
        for point in &self.points {
            match points.last_mut() {
                Some(last) if place(last) == place(point) => {
                    if point.took > last.took {
                        *last = point;
                    }
                }
                _ => points.push(point),
            }
        }
        points
    }
}

/// The looks of each probe of the steady state.
pub(super) fn looks(info: &RunInfo, events: &[Event]) -> Vec<Series> {
    let of = |name: &str| {
        let own = |event: &Event| match &event.event {
            What::Done(look)
                if look.name == name
                    && matches!(look.role, Role::Before | Role::During | Role::After) =>
            {
                Some(Point::of(look))
            }
            _ => None,
        };
        events.iter().filter_map(own).collect()
    };
    let steady = info.probes.iter().filter(|spec| spec.steady);
    steady
        .map(|spec| Series {
            name: spec.name.clone(),
            points: of(&spec.name),
            joined: Some(info.frequency.nanos().saturating_mul(4)),
        })
        .filter(|series| !series.points.is_empty())
        .collect()
}

impl Point {
    fn of(look: &ProbeResult) -> Self {
        Self {
            began: look.began,
            took: look.took,
            good: look.met.unwrap_or(look.error.is_none()),
            seen: format!("{}: {}", moment(look.began), look.seen),
        }
    }
}

/// The operations of each request of each workload. One that never ended is no point.
pub(super) fn operations(events: &[Event]) -> Vec<Series> {
    let mut begun: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    let mut series: Vec<Series> = Vec::new();
    for event in events {
        let What::Operations { workload, operations } = &event.event else { continue };
        for operation in operations {
            let key = (workload.as_str(), operation.number);
            if operation.state == State::Invoke {
                begun.insert(key, operation.at);
            } else if let Some(began) = begun.remove(&key) {
                let name = format!("{workload}: {}", operation.step);
                let point = Point::of_operation(operation, began);
                match series.iter_mut().find(|series| series.name == name) {
                    Some(series) => series.points.push(point),
                    None => series.push(Series { name, points: vec![point], joined: None }),
                }
            }
        }
    }
    for series in &mut series {
        series.points.sort_by_key(Point::ended);
    }
    series
}

impl Point {
    fn of_operation(operation: &Operation, began: u64) -> Self {
        let status = operation.status.map(|status| format!(" status {status}")).unwrap_or_default();
        let note = operation.note.as_deref().unwrap_or_default();
        Self {
            began,
            took: operation.at.saturating_sub(began),
            good: operation.state == State::Ok,
            seen: format!("{}:{status} {note}", moment(began)),
        }
    }
}
