//! The journal: what must be undone is on disk before it is done.
//!
//! One root-only folder per run, `journal.jsonl` in it, one checksummed record per line, each synced
//! before [`Journal::append`] returns. The processes of a run hold a lock on the file, which the
//! kernel releases when the last of them dies, whatever the reason.
//!
//! To journal a change of a new kind: a struct that says how to find the change again, an
//! [`Undo`](super::Undo) for it, a variant of [`Record`] that holds it, and a line in
//! [`Record::undo`]. Then append the record, make the change, and when the fault ends
//! [`Entry::undo`] it, which runs the very code that runs after a crash.

mod error;
mod exclusive;
mod file;
mod folder;
mod line;
mod lock;
mod note;
mod record;
mod runs;

pub use error::JournalError;
pub use exclusive::{Busy, Holder, RunScope, ScopeError, ScopeLock, Sharing};
pub use file::{Entry, Journal};
pub(super) use folder::state_dirs;
pub(super) use lock::HostLock;
pub(super) use note::note;
pub use record::{ActiveFault, ActiveRule, NetnsRef, Record};

/// Reads any bytes as a journal: an entry point for fuzzing.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let contents = line::decode(bytes);
    for (number, record) in &contents.records {
        let text = line::encode(*number, record).unwrap_or_default();
        let again = line::decode(text.as_bytes());
        assert_eq!(
            again.records.as_slice(),
            [(*number, record.clone())],
            "what is read can be written"
        );
    }
}

pub use runs::{RunState, runs};
pub(super) use runs::{run_of, sweep, sweep_drafts};
