//! The file that runs are remembered in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::record::{FORMAT, Record};

/// The file that runs are remembered in: one JSON object per line.
#[derive(Debug, Clone)]
pub struct History(PathBuf);

/// The history could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} the history {}: {source}", path.display())]
pub struct HistoryError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What was remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The oldest first.
    pub records: Vec<Record>,
    /// How many lines could not be read: damaged, or of another version.
    pub unreadable: usize,
}

impl History {
    /// The name of the file, in the folder that holds the folders of runs.
    pub const FILE: &'static str = "history.jsonl";

    /// The history of the runs in `folder`.
    pub fn of(folder: &Path) -> Self {
        Self(folder.join(Self::FILE))
    }

    /// Remembers a run. Several processes may do so at the same time.
    pub fn add(&self, record: &Record) -> Result<(), HistoryError> {
        self.try_add(record).map_err(|source| self.error("write", source))
    }

    fn try_add(&self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.0)?;
        // Given back when the file is closed, also by a crash.
        flock(&file, FlockOperation::LockExclusive)?;
        if !ends_a_line(&mut file)? {
            // Somebody was interrupted while writing; what follows must not be lost with it.
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()
    }

    /// What is remembered; nothing if there is no file yet. Lines that are damaged are counted and
    /// left out.
    pub fn read(&self) -> Result<Past, HistoryError> {
        let mut bytes = Vec::new();
        let read = File::open(&self.0).and_then(|mut file| file.read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::default()),
            Err(source) => return Err(self.error("read", source)),
        }
        let mut past = Past::default();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            match serde_json::from_slice::<Record>(line) {
                Ok(record) if record.format == FORMAT => past.records.push(record),
                _ => past.unreadable += 1,
            }
        }
        // Runs that went on at the same time may have ended in another order.
        past.records.sort_by(|one, other| one.began.cmp(&other.began));
        Ok(past)
    }

    fn error(&self, what: &'static str, source: io::Error) -> HistoryError {
        HistoryError { what, path: self.0.clone(), source }
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::history::trend::tests::record;

    #[test]
    fn damaged_lines_cost_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path());
        assert_eq!(history.read().unwrap(), Past::default());
        history.add(&record("a", 1)).unwrap();
        let path = folder.path().join(History::FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        let newer =
            serde_json::to_string(&record("b", 2)).unwrap().replace("\"format\":1", "\"format\":9");
        file.write_all(b"{\"name\":\n\xff\xfe\n\n").unwrap();
        file.write_all(newer.as_bytes()).unwrap();
        file.write_all(b"\n{\"cut of").unwrap();
        history.add(&record("c", 3)).unwrap();
        let past = history.read().unwrap();
        assert_eq!(past.records, [record("a", 1), record("c", 3)]);
        assert_eq!(past.unreadable, 4);
    }

    #[test]
    fn writers_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path());
        thread::scope(|scope| {
            for writer in 0..8 {
                let history = &history;
                scope.spawn(move || {
                    for run in 0..20 {
                        history.add(&record("x", writer * 20 + run)).unwrap();
                    }
                });
            }
        });
        let past = history.read().unwrap();
        let seeds: Vec<u64> = past.records.iter().map(|one| one.seed).collect();
        assert_eq!((seeds, past.unreadable), ((0..160).collect(), 0));
    }
}
