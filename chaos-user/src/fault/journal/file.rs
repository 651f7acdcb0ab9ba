//! Writing a journal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use super::folder::{Folder, state_dirs};
use super::line::encode;
use super::{JournalError, Record};
use crate::fault::guardian::Guardian;
use crate::fault::undo::{UndoError, Undone};
use crate::host::{ProcessId, boot_id, boot_time};

/// The file in a run's folder.
pub(super) const FILE: &str = "journal.jsonl";
/// Room that a journal has whatever becomes of the disk: a fault may be what fills it.
const ROOM: u64 = 256 << 10;
/// How many dead runs of one name may be waiting for `chaos heal`.
const NAMES: u32 = 100;

/// The open journal of a run, which counts as live while it is open. Clones are the same journal.
///
/// When the last one is dropped, the journal is removed if everything in it is undone, and is left
/// for `chaos heal` if not.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    runs: Folder,
    path: PathBuf,
    state: Mutex<State>,
    guardian: OnceLock<Guardian>,
}

#[derive(Debug)]
struct State {
    file: Flock<File>,
    length: u64,
    next: u64,
    /// What is not undone yet.
    open: BTreeSet<u64>,
}

/// A change whose undo record is on disk. Dropping it leaves the record there for the guardian or
/// `chaos heal`.
#[must_use = "what it records has to be undone"]
#[derive(Debug)]
pub struct Entry {
    journal: Journal,
    number: u64,
    record: Record,
}

impl Entry {
    /// Undoes it as a later process would, and then forgets it.
    pub fn undo(self) -> Result<Undone, UndoError> {
        let undone = match self.record.undo() {
            Some(undo) => undo.undo()?,
            None => Undone::Nothing,
        };
        self.done();
        Ok(undone)
    }

    /// It was undone by other means, or never done.
    pub fn done(self) {
        self.journal.done(self.number);
    }
}

impl Journal {
    /// Starts the journal of a run. It is visible to others once it is locked and says whose it is.
    pub fn create(run: &str) -> Result<Self, JournalError> {
        Self::make(run, None)
    }

    fn make(run: &str, guardian: Option<Guardian>) -> Result<Self, JournalError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !(1..=100).contains(&run.len()) || run.starts_with('.') || run.contains(['/', '\0']) {
            return Err(JournalError::Name { run: run.into() });
        }
        let state = state_dirs().swap_remove(0);
        let missing = || JournalError::io("open", &state)(io::ErrorKind::NotFound.into());
        let runs = Folder::of_runs(&state, true)?.ok_or_else(missing)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let draft = format!(".{}-{count}", std::process::id());
        // A dead process of the same number may have got this far.
        runs.remove(&draft)?;
        let folder = runs.child(&draft, true)?.ok_or_else(missing)?;
        let started = (|| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::RDWR;
            let file = folder.file(FILE, flags)?.ok_or_else(missing)?;
            reserve(&file)
                .map_err(JournalError::io("reserve room for", &folder.path().join(FILE)))?;
            let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
                .map_err(|_| JournalError::Busy { run: run.into() })?;
            let mut state = State { file, length: 0, next: 0, open: BTreeSet::new() };
            let begin = Record::Begin {
                pid: std::process::id(),
                started: boot_time(),
                command: std::env::args_os().map(|arg| arg.to_string_lossy().into()).collect(),
                controller: ProcessId::own(),
                boot: boot_id(),
            };
            let path = folder.path().join(FILE);
            state.append(&begin).map_err(JournalError::io("write", &path))?;
            if let Some(guardian) = &guardian {
                let handed = guardian.hand_over(&state.file);
                handed.map_err(|source| JournalError::Guardian { source })?;
                if let Some(process) = guardian.id() {
                    let record = Record::Guardian { process };
                    state.append(&record).map_err(JournalError::io("write", &path))?;
                }
            }
            folder.sync()?;
            let name = name_it(&runs, &draft, run)?;
            runs.sync()?;
            let path = runs.path().join(&name).join(FILE);
            Ok((name, path, state))
        })();
        match started {
            Ok((name, path, state)) => {
                let (state, guardian) =
                    (Mutex::new(state), guardian.map_or_else(OnceLock::new, OnceLock::from));
                Ok(Self(Arc::new(Shared { name, runs, path, state, guardian })))
            }
            Err(error) => {
                // A draft that stays is swept by `chaos heal`.
                let _ = runs.remove(&draft);
                Err(error)
            }
        }
    }

    /// Starts the guardian of a run and then its journal, before anything else: wherever the run dies,
    /// somebody knows of its journal. `on_loss` is called, from
    /// another thread and at most once, with the reason, if the guardian is gone: then nothing more
    /// can be journalled, and everything has to be put back.
    pub fn guarded(
        run: &str,
        on_loss: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, JournalError> {
        let guardian = Guardian::start(Box::new(on_loss))
            .map_err(|source| JournalError::Guardian { source })?;
        Self::make(run, Some(guardian))
    }

    /// The run's name; not what was asked for if a dead run of that name waits for `chaos heal`.
    pub fn run(&self) -> &str {
        &self.0.name
    }

    /// Writes a record and waits until it is on disk.
    pub fn append(&self, record: Record) -> Result<Entry, JournalError> {
        if let Some(why) = self.0.guardian.get().and_then(Guardian::lost) {
            return Err(JournalError::Unguarded { why: why.into() });
        }
        let number =
            self.lock().append(&record).map_err(JournalError::io("write", &self.0.path))?;
        Ok(Entry { journal: self.clone(), number, record })
    }

    fn done(&self, entry: u64) {
        let mut state = self.lock();
        state.open.remove(&entry);
        // Without this line it would only be undone once more, which does nothing.
        let _ = state.append(&Record::Done { entry });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, record: &Record) -> io::Result<u64> {
        let number = self.next;
        let text = encode(number, record)?;
        let mut file: &File = &self.file;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line must not spoil the next one.
            file.set_len(self.length)?;
            return Err(error);
        }
        self.length += text.len() as u64;
        self.next += 1;
        if record.undo().is_some() {
            self.open.insert(number);
        }
        Ok(number)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.open.is_empty() {
            // A folder that cannot be removed holds only records that undo nothing.
            let _ = self.runs.remove_run(&self.name);
        }
        // Told last that the run is over: until here it would have healed.
        drop(self.guardian.take());
    }
}

fn reserve(file: &File) -> io::Result<()> {
    match fallocate(file.as_fd(), FallocateFlags::KEEP_SIZE, 0, ROOM) {
        // Not every file system can.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a draft its final name.
fn name_it(runs: &Folder, draft: &str, run: &str) -> Result<String, JournalError> {
    for count in 1..=NAMES {
        let name = if count == 1 { run.to_owned() } else { format!("{run}.{count}") };
        match runs.rename(draft, &name) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) if super::runs::is_live(runs, &name)? => break,
            // What a dead run left is not ours to overwrite.
            Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(JournalError::io("name", &runs.path().join(name))(errno.into()));
            }
        }
    }
    Err(JournalError::Busy { run: run.into() })
}
