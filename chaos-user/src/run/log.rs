//! The event log: one JSON object per line, written as it happens.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::clock::Clock;
use super::event::{Event, FORMAT, What};
use super::hide::hide;
use crate::experiment::Redactor;

/// Told of every event.
pub type Observer<'a> = &'a (dyn Fn(&Event) + Sync);

/// Numbers events by time, writes them down, and shows them.
pub struct EventLog<'a> {
    clock: &'a dyn Clock,
    redactor: Redactor,
    observer: Observer<'a>,
    inner: Mutex<Inner>,
    missed: AtomicU64,
}

#[derive(Default)]
struct Inner {
    file: Option<File>,
    events: Vec<Event>,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for EventLog<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").finish_non_exhaustive()
    }
}

impl<'a> EventLog<'a> {
    /// A log that writes to `file`, if there is one, and tells `observer`.
    pub fn new(
        clock: &'a dyn Clock,
        redactor: Redactor,
        file: Option<File>,
        observer: Observer<'a>,
    ) -> Self {
        let inner = Mutex::new(Inner { file, ..Inner::default() });
        Self { clock, redactor, observer, inner, missed: AtomicU64::new(0) }
    }

    /// Records what just happened. A line that cannot be written is told by [`Self::finish`].
    pub fn record(&self, what: What) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock, so that the order of the lines is that of their times.
        let mut event = Event { at: self.clock.now(), wall: self.clock.wall(), event: what };
        if matches!(&event.event, What::Done(result) if result.met == Some(false)) {
            self.missed.store(event.at.max(1), Ordering::Release);
        }
        hide(&mut event, &self.redactor);
        if let Some(file) = &mut inner.file {
            let written = serde_json::to_string(&event)
                .map_err(io::Error::from)
                .and_then(|line| writeln!(file, "{line}"));
            if let Err(error) = written {
                inner.failed.get_or_insert(error);
            }
        }
        (self.observer)(&event);
        inner.events.push(event);
    }

    /// What it hides.
    pub(super) const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// When a look was last not as expected.
    pub(super) fn last_miss(&self) -> Option<u64> {
        Some(self.missed.load(Ordering::Acquire)).filter(|at| *at > 0)
    }

    /// The clock that events are timed by.
    pub fn clock(&self) -> &dyn Clock {
        self.clock
    }

    /// All events, once they are safely written.
    pub fn finish(self) -> io::Result<Vec<Event>> {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (inner.failed, inner.file) {
            (Some(error), _) => Err(error),
            (None, Some(file)) => file.sync_all().map(|()| inner.events),
            (None, None) => Ok(inner.events),
        }
    }
}

/// Why an event log was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("read the event log {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no event.
    #[error("{}:{line}: not an event of this tool: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// It does not begin as a log does.
    #[error("{}: not an event log: its first line must say that a run began", path.display())]
    NoBeginning {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the format.
    #[error("{}: written in format {found}; this version of chaos reads format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Reads an event log. A last line that was cut off, by a crash say, is left out.
pub fn read_log(path: &Path) -> Result<Vec<Event>, ReadError> {
    let unreadable = |source| ReadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut events = Vec::new();
    let mut lines = BufReader::new(file).lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let line = line.map_err(unreadable)?;
        match serde_json::from_str(&line) {
            Ok(event) => events.push(event),
            Err(source) if lines.peek().is_some() || events.is_empty() => {
                return Err(ReadError::Malformed { path: path.to_owned(), line: at + 1, source });
            }
            Err(_) => {}
        }
    }
    match events.first() {
        Some(Event { event: What::Began(info), .. }) if info.format == FORMAT => Ok(events),
        Some(Event { event: What::Began(info), .. }) => {
            Err(ReadError::Format { path: path.to_owned(), found: info.format })
        }
        _ => Err(ReadError::NoBeginning { path: path.to_owned() }),
    }
}
