//! Filling, keeping full, and giving back.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::fstat;

use super::error::DiskFillError;
use super::file::{Filler, room};
use crate::fault::journal::{Entry, Journal, Record};
use crate::fault::precious::precious;
use crate::fault::undo::FillUndo;
use crate::plan::{FillLevel, Room};

/// How long filling may take.
const WITHIN: Duration = Duration::from_mins(1);
/// The most that is taken between two looks at the clock, in bytes.
const STEP: u64 = 256 << 20;
/// How often room that others gave back is looked for.
const KEEP: Duration = Duration::from_millis(20);
/// How long a filesystem may take to show room that was given back.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// A filesystem to be filled.
#[derive(Debug)]
pub struct DiskFill {
    /// A folder on it.
    pub folder: OwnedFd,
    /// What that is called in messages, and where the file would be found after a crash.
    pub path: PathBuf,
    /// How full.
    pub level: FillLevel,
    /// Whether it may be the one that this host or this tool depends on.
    pub force: bool,
    /// A file or folder of this tool's own, besides its state, that needs room.
    pub own: Option<PathBuf>,
}

/// What filling showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillEvidence {
    /// The room before.
    pub before: Room,
    /// The room when it was full.
    pub full: Room,
    /// The room after it was given back; as when it was full until then.
    pub after: Room,
    /// How often the filesystem was looked at.
    pub looks: u64,
    /// How often room was taken.
    pub taken: u64,
    /// How often the filesystem had none left (ENOSPC).
    pub refused: u64,
    /// All bytes taken.
    pub bytes: u64,
}

/// A filesystem that is kept full. Dropping it gives the room back.
#[derive(Debug)]
pub struct ActiveDiskFill {
    keeper: Option<(Sender<()>, JoinHandle<Keeping>)>,
    folder: OwnedFd,
    entry: Option<Entry>,
}

/// What the thread works with, and gives back at the end.
#[derive(Debug)]
struct Keeping {
    filler: Filler,
    level: FillLevel,
    seen: FillEvidence,
}

impl DiskFill {
    /// Looks whether it may be filled. Touches nothing.
    pub fn check(&self) -> Result<Room, DiskFillError> {
        let device = fstat(&self.folder).map_err(|errno| self.failed("look at")(errno.into()))?;
        let holds = precious(device.st_dev, self.own.as_deref());
        if let Some(holds) = holds.filter(|_| !self.force) {
            return Err(DiskFillError::Protected { path: self.path.clone(), holds });
        }
        let room = room(&self.folder).map_err(self.failed("look at"))?;
        if room.used == 0 && room.available == 0 {
            return Err(DiskFillError::NoSize { path: self.path.clone() });
        }
        Ok(room)
    }

    /// Fills it, and reads back that it is full.
    pub fn start(self, journal: &Journal) -> Result<ActiveDiskFill, DiskFillError> {
        let before = self.check()?;
        let name = format!(".chaos-fill-{}", std::process::id());
        let undo = FillUndo { file: self.path.join(&name) };
        let entry = journal.append(Record::DiskFill(undo))?;
        let filled = self.fill(before, &name);
        let keeping = match filled {
            Ok(keeping) => keeping,
            Err(error) => {
                // The file is closed: its room is free again.
                entry.done();
                return Err(error);
            }
        };
        let (stop, stopped) = channel();
        let watched = self.folder.try_clone().map_err(self.failed("open"))?;
        let keep = move || {
            let mut keeping = keeping;
            while stopped.recv_timeout(KEEP) == Err(RecvTimeoutError::Timeout) {
                // An error here means that the filesystem is gone; there is nothing to keep then.
                if keeping.top_up(&watched).is_err() {
                    let _ = stopped.recv();
                    break;
                }
            }
            keeping
        };
        let thread = thread::Builder::new().name("disk-fill".into()).spawn(keep);
        let thread = thread.map_err(self.failed("keep full"))?;
        Ok(ActiveDiskFill { keeper: Some((stop, thread)), folder: self.folder, entry: Some(entry) })
    }

    fn fill(&self, before: Room, name: &str) -> Result<Keeping, DiskFillError> {
        let filler = Filler::create(&self.folder, name).map_err(self.failed("make a file in"))?;
        let seen = FillEvidence {
            before,
            full: before,
            after: before,
            looks: 1,
            taken: 0,
            refused: 0,
            bytes: 0,
        };
        let mut keeping = Keeping { filler, level: self.level, seen };
        let began = Instant::now();
        // Others write meanwhile, and some filesystems take more than they are asked for.
        while keeping.top_up(&self.folder).map_err(self.failed("fill"))? && began.elapsed() < WITHIN
        {
        }
        let left = keeping.seen.full.missing(self.level);
        if left >= before.block {
            let (path, seconds) = (self.path.clone(), began.elapsed().as_secs());
            return Err(DiskFillError::NotFull { path, seconds, left });
        }
        Ok(keeping)
    }

    fn failed(&self, what: &'static str) -> impl Fn(std::io::Error) -> DiskFillError {
        let path = self.path.clone();
        move |source| DiskFillError::Place { what, path: path.clone(), source }
    }
}

impl Keeping {
    /// Takes what is missing, up to a limit. Says whether more may be missing.
    fn top_up(&mut self, folder: &OwnedFd) -> std::io::Result<bool> {
        let now = room(folder)?;
        self.seen.looks += 1;
        let missing = now.missing(self.level);
        // Where only root may have the last blocks, they count too if nothing is to be left.
        let wanted = if self.level.is_full() { missing.max(now.block) } else { missing };
        if wanted == 0 || (wanted < now.block && !self.level.is_full()) {
            self.seen.full = now;
            return Ok(false);
        }
        let done = self.filler.take(wanted.min(STEP))?;
        self.seen.taken += u64::from(done.bytes > 0);
        self.seen.refused += u64::from(done.refused);
        self.seen.bytes += done.bytes;
        self.seen.full = room(folder)?;
        Ok(!done.refused)
    }
}

impl ActiveDiskFill {
    /// Gives the room back, and says what there was.
    pub fn heal(mut self) -> Result<FillEvidence, String> {
        let Some(keeping) = self.stop() else {
            return Err("the thread that kept the filesystem full is gone".into());
        };
        let mut seen = keeping.seen;
        let released = keeping.filler.release();
        let until = Instant::now() + RELEASE_WITHIN;
        loop {
            let now =
                room(&self.folder).map_err(|error| format!("look at what is free: {error}"))?;
            seen.after = now;
            // What the system under test wrote meanwhile is its own.
            if now.available > seen.full.available || seen.bytes == 0 {
                break;
            }
            if Instant::now() > until {
                let why = released.err().map_or_else(String::new, |error| format!(": {error}"));
                return Err(format!("the room that was taken has not come back{why}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        if let Some(entry) = self.entry.take() {
            entry.done();
        }
        Ok(seen)
    }

    fn stop(&mut self) -> Option<Keeping> {
        let (stop, thread) = self.keeper.take()?;
        drop(stop);
        thread.join().ok()
    }
}

impl Drop for ActiveDiskFill {
    fn drop(&mut self) {
        // With the file goes its room.
        if self.stop().is_some()
            && let Some(entry) = self.entry.take()
        {
            entry.done();
        }
    }
}
