//! Activities that go on together: the method waits until the last of them has ended.

use std::thread::ScopedJoinHandle;

use crate::experiment::Activity;

/// The group that the method is in.
#[derive(Debug, Default)]
pub(super) struct Group<'scope, 'a> {
    number: Option<usize>,
    names: Vec<&'a str>,
    threads: Vec<ScopedJoinHandle<'scope, Option<bool>>>,
}

impl<'scope, 'a> Group<'scope, 'a> {
    /// Whether `next`, or the end of the method, has to wait for a member that has not ended;
    /// `active` says whether a fault is.
    pub(super) fn holds_up(
        &mut self,
        next: Option<&'a Activity>,
        active: impl Fn(&str) -> bool,
    ) -> bool {
        let number = next.and_then(|next| next.group);
        if number.is_none() || number != self.number {
            let runs = self.threads.iter().any(|thread| !thread.is_finished());
            if runs || self.names.iter().any(|name| active(name)) {
                return true;
            }
            *self = Self { number, names: Vec::new(), threads: Vec::new() };
        }
        if let Some(next) = next.filter(|next| next.group.is_some()) {
            self.names.push(&next.name);
        }
        false
    }

    /// A member of the group runs there.
    pub(super) fn started(
        &mut self,
        one: &Activity,
        thread: ScopedJoinHandle<'scope, Option<bool>>,
    ) {
        // What is in the background of the whole method is waited for by nobody.
        if one.group.is_some() {
            self.threads.push(thread);
        }
    }
}
