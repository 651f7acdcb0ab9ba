//! Putting a snapshot back, and proving that it is.

use std::collections::BTreeSet;

use super::error::{Operation, QdiscError};
use super::handle::Handle;
use super::ops::Place;
use super::repeat::repeated;
use super::snapshot::{RootQdisc, StoredClass};
use super::socket::TcSocket;

impl RootQdisc {
    /// Puts it back and proves it with a dump that is equal to the one at the snapshot.
    pub fn restore(&self, tc: &mut TcSocket) -> Result<(), RestoreError> {
        if self.is_back(&Self::snapshot(tc, self.device)?) {
            return Ok(());
        }
        self.put_back(tc)?;
        let now = Self::snapshot(tc, self.device)?;
        if self.is_back(&now) {
            Ok(())
        } else {
            Err(RestoreError::Different { wanted: Box::new(self.clone()), got: Box::new(now) })
        }
    }

    /// Whether `now` is what this snapshot was. A device that had never been up had no qdisc, and
    /// gets its default as soon as it is.
    fn is_back(&self, now: &Self) -> bool {
        let never_up =
            self.qdiscs.is_empty() && now.qdiscs.iter().all(|qdisc| qdisc.handle.is_unspecified());
        never_up
            || (self.qdiscs == now.qdiscs
                && self.classes == now.classes
                && self.filters == now.filters)
    }

    /// Makes the tree on its device.
    pub(super) fn put_back(&self, tc: &mut TcSocket) -> Result<(), QdiscError> {
        let device = self.device;
        let current = Self::snapshot(tc, device)?;
        let current = current.root().map(|root| root.handle).filter(|h| !h.is_unspecified());
        let root = self.root().filter(|root| !root.handle.is_unspecified());
        // An existing qdisc of the same handle would be altered instead of replaced.
        if let Some(handle) = current
            && root.is_none_or(|root| root.handle == handle)
        {
            tc.delete(Place::root(device, handle))?;
        }
        let Some(root) = root else { return Ok(()) };
        tc.write_qdisc(
            Operation::Replace,
            Place::root(device, root.handle),
            &root.kind,
            repeated(&root.kind, root.options.as_deref()),
        )?;
        for class in self.classes_from_the_top() {
            // A class at the top is dumped with the root as its parent.
            let parent =
                if class.parent == Handle::ROOT { root_of(class.handle) } else { class.parent };
            let place = Place { device, parent, handle: class.handle };
            tc.send_class(Operation::Add, place, &class.kind, class.options.clone())?;
        }
        for qdisc in self.explicit().filter(|qdisc| qdisc.parent != Handle::ROOT) {
            let place = Place { device, parent: qdisc.parent, handle: qdisc.handle };
            let options = repeated(&qdisc.kind, qdisc.options.as_deref());
            tc.write_qdisc(Operation::Replace, place, &qdisc.kind, options)?;
        }
        Ok(())
    }

    /// Parents before their children.
    fn classes_from_the_top(&self) -> Vec<&StoredClass> {
        let mut order: Vec<&StoredClass> = Vec::with_capacity(self.classes.len());
        let mut made = BTreeSet::from([Handle::ROOT]);
        made.extend(self.explicit().map(|qdisc| qdisc.handle));
        while order.len() < self.classes.len() {
            let before = order.len();
            for class in &self.classes {
                if made.contains(&class.parent) && made.insert(class.handle) {
                    order.push(class);
                }
            }
            if order.len() == before {
                // Orphans, which no kernel dumps: leave them to the comparison.
                break;
            }
        }
        order
    }
}

/// Why a snapshot was not put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The kernel refused a step.
    #[error("cannot put the qdiscs back: {0}")]
    Qdisc(#[from] QdiscError),
    /// Every step was accepted, but the dump is another one than before.
    #[error("the qdiscs of device #{} are not what they were: {}", wanted.device, difference(wanted, got))]
    Different {
        /// What was there.
        wanted: Box<RootQdisc>,
        /// What is there now.
        got: Box<RootQdisc>,
    },
}

/// Says where two snapshots differ.
pub(super) fn difference(wanted: &RootQdisc, got: &RootQdisc) -> String {
    let mut parts = Vec::new();
    for qdisc in &wanted.qdiscs {
        let name = format!("{} {} at {}", qdisc.kind, qdisc.handle, qdisc.parent);
        match got.qdiscs.iter().find(|other| other.parent == qdisc.parent) {
            Some(other) if other == qdisc => {}
            Some(other) if (&other.kind, other.handle) == (&qdisc.kind, qdisc.handle) => {
                parts.push(format!("{name} has other options"));
            }
            Some(other) => parts.push(format!("{} {} instead of {name}", other.kind, other.handle)),
            None => parts.push(format!("{name} is missing")),
        }
    }
    for class in &wanted.classes {
        match got.classes.iter().find(|other| other.handle == class.handle) {
            Some(other) if other == class => {}
            Some(_) => parts.push(format!("class {} has other options", class.handle)),
            None => parts.push(format!("class {} is missing", class.handle)),
        }
    }
    if wanted.qdiscs.len() < got.qdiscs.len() || wanted.classes.len() < got.classes.len() {
        parts.push("there are more than before".to_owned());
    }
    if wanted.filters != got.filters {
        parts.push(format!("{} filters instead of {}", got.filters, wanted.filters));
    }
    parts.join(", ")
}

fn root_of(class: Handle) -> Handle {
    Handle::qdisc(class.major())
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
