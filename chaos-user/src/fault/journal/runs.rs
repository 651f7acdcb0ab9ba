//! The runs of this host that have a journal, live and dead.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;

use super::file::FILE;
use super::folder::{Folder, state_dirs};
use super::line::{Contents, decode};
use super::{JournalError, Record};
use crate::host::{ProcessId, boot_id};

/// The most that is read of a journal, in bytes.
const ENOUGH: u64 = 64 << 20;
/// How often a lock is tried that somebody may hold who only looks, and the pause between.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// A run that has a journal.
#[derive(Debug)]
pub struct RunState {
    /// Its name.
    pub name: String,
    /// Whether a process of it is alive: the one that started it, or its guardian.
    pub live: bool,
    /// What it wrote and has not undone yet.
    pub records: Vec<Record>,
    /// Lines of its journal that cannot be read.
    pub damaged: Vec<String>,
    runs: Folder,
}

impl RunState {
    /// The process that started it.
    pub fn pid(&self) -> Option<u32> {
        self.begin(|record| match record {
            Record::Begin { pid, .. } => Some(*pid),
            _ => None,
        })
    }

    /// The process that started it, without doubt.
    pub fn controller(&self) -> Option<ProcessId> {
        self.begin(|record| match record {
            Record::Begin { controller, .. } => *controller,
            _ => None,
        })
    }

    /// Who watches over it.
    pub fn guardian(&self) -> Option<ProcessId> {
        self.begin(|record| match record {
            Record::Guardian { process } => Some(*process),
            _ => None,
        })
    }

    fn begin<T>(&self, pick: impl Fn(&Record) -> Option<T>) -> Option<T> {
        self.records.iter().find_map(pick)
    }

    /// Whether the machine was booted since: kernel state is gone then, and files are not.
    pub fn before_boot(&self) -> bool {
        let then = self.begin(|record| match record {
            Record::Begin { boot, .. } => boot.clone(),
            _ => None,
        });
        then.is_some() && then != boot_id()
    }

    /// Takes the journal of a dead run, so that nobody else replays it at the same time. `None` if
    /// somebody does, or if the run is live.
    pub(in super::super) fn take(&self) -> Result<Option<Flock<File>>, JournalError> {
        lock(&self.runs, &self.name)
    }

    /// Forgets a dead run whose records are all undone.
    pub(in super::super) fn forget(&self) -> Result<(), JournalError> {
        self.runs.remove_run(&self.name)
    }
}

/// All runs with a journal, by name.
pub fn runs() -> Result<Vec<RunState>, JournalError> {
    let mut found = Vec::new();
    for state in state_dirs() {
        let Some(runs) = Folder::of_runs(&state, false)? else { continue };
        for name in runs.names(false)? {
            // Gone since it was listed.
            let Some(folder) = runs.child(&name, false)? else { continue };
            found.push(state_of(&runs, name, &folder)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn state_of(runs: &Folder, name: String, folder: &Folder) -> Result<RunState, JournalError> {
    // Read first: its guardian may just be removing it, and a run that is live has a journal.
    let contents = contents(folder)?;
    let live = is_live(runs, &name)?;
    let records = open(&contents);
    Ok(RunState { name, live, records, damaged: contents.damaged, runs: runs.clone() })
}

/// The run that an open journal is of; `None` if it has no name (yet, or any more).
pub(in super::super) fn run_of(journal: &File) -> Result<Option<RunState>, JournalError> {
    let unknown = || JournalError::io("recognise", Path::new(FILE));
    let wanted = journal.metadata().map_err(unknown())?;
    for state in state_dirs() {
        let Some(runs) = Folder::of_runs(&state, false)? else { continue };
        for name in runs.names(false)? {
            let Some(folder) = runs.child(&name, false)? else { continue };
            let Some(file) = folder.file(FILE, OFlags::RDONLY)? else { continue };
            let found = file.metadata().map_err(unknown())?;
            if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()) {
                return state_of(&runs, name, &folder).map(Some);
            }
        }
    }
    Ok(None)
}

/// Removes drafts of journals whose processes died before they did anything.
pub(in super::super) fn sweep() -> Result<(), JournalError> {
    sweep_if(|process| process.and_then(ProcessId::of).is_none())
}

/// Removes the drafts of one process, which is dead, if it has not been forgotten yet.
pub(in super::super) fn sweep_drafts(dead: ProcessId) -> Result<(), JournalError> {
    // Another process of that number by now has drafts of its own.
    let another = ProcessId::of(dead.pid).is_some_and(|process| process != dead);
    sweep_if(|process| process == Some(dead.pid) && !another)
}

fn sweep_if(whose: impl Fn(Option<u32>) -> bool) -> Result<(), JournalError> {
    for state in state_dirs() {
        let Some(runs) = Folder::of_runs(&state, false)? else { continue };
        for name in runs.names(true)? {
            let process = name.trim_start_matches('.').split('-').next();
            if whose(process.and_then(|pid| pid.parse().ok())) {
                runs.remove(&name)?;
            }
        }
    }
    Ok(())
}

/// Whether a process of a run is alive.
pub(super) fn is_live(runs: &Folder, name: &str) -> Result<bool, JournalError> {
    let Some(folder) = runs.child(name, false)? else { return Ok(false) };
    let Some(file) = folder.file(FILE, OFlags::RDONLY)? else { return Ok(false) };
    // Shared, so that many can look at once.
    Ok(Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
}

fn lock(runs: &Folder, name: &str) -> Result<Option<Flock<File>>, JournalError> {
    let Some(folder) = runs.child(name, false)? else { return Ok(None) };
    let Some(mut file) = folder.file(FILE, OFlags::RDONLY)? else {
        // A crash between making the folder and the file cannot leave this; somebody's hand can.
        runs.remove(name)?;
        return Ok(None);
    };
    for _ in 0..LOOKS {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

fn contents(folder: &Folder) -> Result<Contents, JournalError> {
    let Some(file) = folder.file(FILE, OFlags::RDONLY)? else { return Ok(Contents::default()) };
    let mut bytes = Vec::new();
    let failed = || JournalError::io("read", &folder.path().join(FILE));
    (&file).take(ENOUGH + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > ENOUGH {
        return Err(failed()(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(decode(&bytes))
}

/// The records without those that are done.
fn open(contents: &Contents) -> Vec<Record> {
    let over = |number: u64| {
        let mut done = contents.records.iter();
        done.any(|(_, record)| matches!(record, Record::Done { entry } if *entry == number))
    };
    contents
        .records
        .iter()
        .filter(|(number, record)| !matches!(record, Record::Done { .. }) && !over(*number))
        .map(|(_, record)| record.clone())
        .collect()
}
