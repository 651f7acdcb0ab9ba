//! What is shown while a run goes on: one line per thing that matters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::run::{Event, Role, What};

/// Which probes last held, so that only changes are shown.
#[derive(Debug, Default)]
pub struct Shown(Mutex<BTreeMap<String, bool>>);

/// A line for an event, if it is worth one.
pub fn progress(shown: &Shown, event: &Event) -> Option<String> {
    let text = match &event.event {
        What::Began(info) => format!("{}: {}", info.name, info.title),
        What::Ready(nodes) if nodes.is_empty() => return None,
        What::Ready(nodes) => {
            let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
            format!("lab is up: {}", names.join(", "))
        }
        What::Done(result) => {
            let holds = result.met.unwrap_or(result.error.is_none());
            let mut last = shown.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = last.insert(result.name.clone(), holds);
            if result.role == Role::During && before == Some(holds) {
                return None;
            }
            let mark = if holds { "ok  " } else { "MISS" };
            format!("{mark} {}: {}", result.name, result.seen)
        }
        What::Cleared(clearance) => {
            let extent = &clearance.extent;
            if extent.faults.is_empty() {
                return None;
            }
            format!("{clearance}blast radius: {extent}")
        }
        What::Refused(reasons) => format!("not allowed: {}", reasons.join("; ")),
        What::Tripped { probe } => {
            format!("the safeguard `{probe}` does not hold: everything is healed at once")
        }
        What::GateClosed { probe } => {
            format!("the steady state does not hold (`{probe}`): nothing is injected")
        }
        What::Deviated { probe } => {
            format!("`{probe}` does not hold: the method is ended")
        }
        What::Arming(info) => format!("fault `{}` for {}", info.fault, info.lasts),
        What::Active { fault } => format!("fault `{fault}` is active"),
        What::Healed(healed) => match &healed.error {
            Some(error) => format!("fault `{}` could not be healed: {error}", healed.fault),
            None => {
                let acted: u64 = healed.evidence.iter().map(|rule| rule.acted).sum();
                format!("fault `{}` healed; it acted {acted} times", healed.fault)
            }
        },
        What::Interrupted => "interrupted; everything is healed".into(),
        What::Trouble { text, .. } => format!("trouble: {text}"),
        What::Operations { .. } | What::Healing { .. } | What::Logged(_) | What::Ended(_) => {
            return None;
        }
    };
    Some(format!("[{:7.3}] {text}", event.at as f64 / 1e9))
}
