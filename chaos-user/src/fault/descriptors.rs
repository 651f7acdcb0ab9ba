//! Processes that can open nothing more.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::RuleEvidence;
use super::journal::{Entry, Journal, JournalError, Record};
use super::lockout::{LockedOut, check_processes};
use super::undo::{DescriptorsUndo, UndoError};
use crate::exit::Exit;
use crate::host::{DescriptorLimit, ProcessId, descriptors, limit_with_room};

/// The pause between two looks at how many are in use.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at what a process has open before its limit is lowered, a [`PAUSE`] apart. What it closes
/// between them is room that it would still have.
const LOOKS: u32 = 5;

/// Why a fault of descriptors was not injected.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorsError {
    /// It would cut the operator off.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
    /// The kernel refused.
    #[error("lower the limit of open files of {what} (process {pid}): {source}")]
    Limit {
        /// Whose.
        what: String,
        /// Its number.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// The kernel did not do it.
    #[error("the limit of open files of {what} (process {pid}) is not what was set")]
    NotInForce {
        /// Whose.
        what: String,
        /// Its number.
        pid: u32,
    },
    /// Without an undo record on disk nothing is touched.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl DescriptorsError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::LockedOut(_) => Exit::Usage,
            Self::Limit { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::HostUnable
            }
            Self::Limit { .. } | Self::NotInForce { .. } | Self::Journal(_) => Exit::ToolFailed,
        }
    }
}

/// What was seen of the processes meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorsEvidence {
    /// Looks at a process.
    pub looks: u64,
    /// Those that found the limit in force.
    pub limited: u64,
    /// Those that also found every number below it in use, so that nothing could be opened.
    pub exhausted: u64,
}

/// Processes whose limits are lowered. Dropping it puts them back.
#[derive(Debug)]
pub struct ActiveDescriptors {
    entries: Vec<Entry>,
    watch: Option<(Sender<()>, JoinHandle<DescriptorsEvidence>)>,
}

impl ActiveDescriptors {
    /// Lowers the limits of these processes so that each may open `spare` files more than it keeps
    /// open.
    /// One that is gone by then is left out.
    pub fn start(
        journal: &Journal,
        what: &str,
        processes: &[ProcessId],
        spare: u32,
    ) -> Result<Self, DescriptorsError> {
        let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        check_processes(what, &pids)?;
        // From here on every way out undoes what was done.
        let mut active = Self { entries: Vec::new(), watch: None };
        let mut limited = Vec::new();
        for (process, open) in kept_open(processes) {
            match active.lower(journal, what, process, open, u64::from(spare)) {
                Ok(undo) => limited.extend(undo),
                // It has ended.
                Err(DescriptorsError::Limit { .. } | DescriptorsError::NotInForce { .. })
                    if !process.is_alive() => {}
                Err(error) => return Err(error),
            }
        }
        let (stop, stopped) = mpsc::channel();
        let watch = thread::spawn(move || {
            let mut seen = DescriptorsEvidence::default();
            loop {
                for one in &limited {
                    look(one, &mut seen);
                }
                match stopped.recv_timeout(PAUSE) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return seen,
                }
            }
        });
        active.watch = Some((stop, watch));
        Ok(active)
    }

    /// `None` if it may open fewer already.
    fn lower(
        &mut self,
        journal: &Journal,
        what: &str,
        process: ProcessId,
        open: io::Result<Vec<u64>>,
        spare: u64,
    ) -> Result<Option<DescriptorsUndo>, DescriptorsError> {
        let failed = |source| {
            let what = what.to_owned();
            DescriptorsError::Limit { what, pid: process.pid, source }
        };
        let before = DescriptorLimit::of(process).map_err(failed)?;
        let ours = limit_with_room(&open.map_err(failed)?, spare);
        if before.soft.is_some_and(|soft| soft <= ours) {
            return Ok(None);
        }
        let undo = DescriptorsUndo { process, name: what.to_owned(), before, ours };
        self.entries.push(journal.append(Record::Descriptors(undo.clone()))?);
        undo.lowered().set(process).map_err(failed)?;
        if DescriptorLimit::of(process).map_err(failed)? != undo.lowered() {
            let what = what.to_owned();
            return Err(DescriptorsError::NotInForce { what, pid: process.pid });
        }
        Ok(Some(undo))
    }

    /// Puts the limits back, and says what was seen.
    pub fn heal(mut self) -> Result<DescriptorsEvidence, UndoError> {
        let seen = self.watch.take().map(|(stop, watch)| {
            drop(stop);
            watch.join().unwrap_or_default()
        });
        let mut failed = None;
        for entry in self.entries.drain(..).rev() {
            if let Err(error) = entry.undo() {
                failed = Some(error);
            }
        }
        failed.map_or_else(|| Ok(seen.unwrap_or_default()), Err)
    }
}

impl Drop for ActiveDescriptors {
    fn drop(&mut self) {
        for entry in self.entries.drain(..).rev() {
            // What cannot be undone stays in the journal for `chaos heal`.
            let _ = entry.undo();
        }
    }
}

impl DescriptorsEvidence {
    /// As counters of a rule.
    pub fn as_rule(&self, rule: &str) -> RuleEvidence {
        let rule = rule.to_owned();
        let Self { looks, limited, exhausted } = *self;
        RuleEvidence { rule, seen: looks, matched: limited, acted: exhausted, bytes: 0 }
    }
}

/// The descriptors that each process had at every look.
fn kept_open(processes: &[ProcessId]) -> Vec<(ProcessId, io::Result<Vec<u64>>)> {
    let mut all: Vec<_> = processes.iter().map(|&one| (one, descriptors(one))).collect();
    for _ in 1..LOOKS {
        thread::sleep(PAUSE);
        for (process, open) in &mut all {
            if let (Ok(open), Ok(now)) = (open, descriptors(*process)) {
                open.retain(|number| now.binary_search(number).is_ok());
            }
        }
    }
    all
}

fn look(one: &DescriptorsUndo, seen: &mut DescriptorsEvidence) {
    if !one.process.is_alive() {
        return;
    }
    seen.looks += 1;
    if DescriptorLimit::of(one.process).is_ok_and(|now| now == one.lowered()) {
        seen.limited += 1;
        let used: BTreeSet<u64> =
            descriptors(one.process).unwrap_or_default().into_iter().collect();
        if (0..one.ours).all(|number| used.contains(&number)) {
            seen.exhausted += 1;
        }
    }
}
