//! The journal: what must be undone is on disk before it is done.
//!
//! One folder per run under the state folder, `journal.jsonl` in it, one checksummed record per
//! line. The process that runs the faults holds a lock on the file, which the kernel releases when
//! it dies, whatever the reason.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::root_netem::RootNetemUndo;
use crate::host::boot_time;
use crate::kernel::bpf::HookPoint;
use crate::kernel::netns::NetNs;

/// Version of the records.
const VERSION: u32 = 1;

/// Where runs are kept: `CHAOS_STATE_DIR`, else `/run/chaos`, which a reboot empties, as it does
/// the kernel state that the records are about.
pub(crate) fn state_dir() -> PathBuf {
    std::env::var_os("CHAOS_STATE_DIR").map_or_else(|| "/run/chaos".into(), PathBuf::from)
}

/// The journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Without a journal no fault is started.
    #[error("cannot {what} the journal {}: {source}; nothing was touched, because it could not have been put back after a crash", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The errno.
        #[source]
        source: io::Error,
    },
    /// Two runs of one name.
    #[error("a run named `{run}` is active already (`chaos status` shows it)")]
    Busy {
        /// Its name.
        run: String,
    },
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// Who runs.
    Begin {
        /// Process.
        pid: u32,
        /// CLOCK_BOOTTIME, ns.
        started: u64,
        /// Its command line.
        command: Vec<String>,
    },
    /// A clsact filter may be added to a device.
    Filter {
        /// Where the device is.
        netns: NetnsRef,
        /// Its index.
        ifindex: u32,
        /// Its name.
        device: String,
    },
    /// A device's root qdisc may be replaced by netem.
    RootNetem {
        /// Where the device is.
        netns: NetnsRef,
        /// What puts back what was there.
        undo: Box<RootNetemUndo>,
    },
    /// The faults are in force.
    Active {
        /// Which.
        faults: Vec<ActiveFault>,
        /// CLOCK_BOOTTIME, ns, when the kernel ends the last of them.
        deadline: u64,
    },
}

/// A network namespace that a later process must find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsRef {
    /// In nsfs.
    pub inode: u64,
}

impl From<&NetNs> for NetnsRef {
    fn from(netns: &NetNs) -> Self {
        Self { inode: netns.inode() }
    }
}

/// A fault in force, for `chaos status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Its name.
    pub name: String,
    /// Where.
    pub netns: NetnsRef,
    /// Its rules.
    pub rules: Vec<ActiveRule>,
    /// Where its programs are.
    pub attached: Vec<HookPoint>,
    /// Ids of the maps that count by rule and by hook.
    pub counter_maps: [u32; 2],
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRule {
    /// Its name.
    pub name: String,
    /// What it does, in words.
    pub text: String,
    /// Where it counts.
    pub slot: u32,
    /// Where it looks.
    pub hooks: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    crc: u32,
    body: String,
}

/// An open journal; its run counts as live while it exists.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: Flock<File>,
}

impl Journal {
    /// Starts the journal of a run.
    pub fn create(run: &str) -> Result<Self, JournalError> {
        let root = state_dir();
        let folder = root.join("runs").join(run);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed("create", &folder))?;
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed("open", &path))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| JournalError::Busy { run: run.into() })?;
        let mut journal = Self { folder, file };
        journal.append(&Record::Begin {
            pid: std::process::id(),
            started: boot_time(),
            command: std::env::args().collect(),
        })?;
        Ok(journal)
    }

    /// Writes a record and waits until it is on disk.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let path = self.folder.join("journal.jsonl");
        let write = || -> io::Result<()> {
            let body = serde_json::to_string(record)?;
            let line = Line { v: VERSION, crc: crc32fast::hash(body.as_bytes()), body };
            let mut text = serde_json::to_string(&line)?;
            text.push('\n');
            let mut file: &File = &self.file;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        write().map_err(failed("write", &path))
    }

    /// Everything is undone: the run is over and leaves no trace.
    pub fn finish(self) {
        // A folder that cannot be removed holds only records that undo nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A run that has a journal.
#[derive(Debug)]
pub struct RunState {
    /// Its name.
    pub name: String,
    /// Whether the process that started it still runs it.
    pub live: bool,
    /// What it wrote, up to the first damaged line.
    pub records: Vec<Record>,
    folder: PathBuf,
}

impl RunState {
    /// The process that started it.
    pub fn pid(&self) -> Option<u32> {
        self.records.iter().find_map(|record| match record {
            Record::Begin { pid, .. } => Some(*pid),
            _ => None,
        })
    }

    /// Forgets a dead run whose records are all undone.
    pub fn forget(self) -> Result<(), JournalError> {
        fs::remove_dir_all(&self.folder).map_err(failed("remove", &self.folder))
    }
}

/// All runs with a journal, by name.
pub fn runs() -> Result<Vec<RunState>, JournalError> {
    let folder = state_dir().join("runs");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", &folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let folder = entry.path();
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let (live, records) = match file {
            Ok(file) => {
                let live = Flock::lock(file, FlockArg::LockSharedNonblock).is_err();
                (live, read(&path)?)
            }
            Err(_) => (false, Vec::new()),
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push(RunState { name, live, records, folder });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// A crash can tear the last line only, and its record is then about something not done yet.
fn read(path: &Path) -> Result<Vec<Record>, JournalError> {
    const ENOUGH: u64 = 64 << 20;
    let length = fs::metadata(path).map_err(failed("read", path))?.len();
    if length > ENOUGH {
        return Err(failed("read", path)(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Vec<Record> {
    bytes
        .split(|&byte| byte == b'\n')
        .map_while(|line| {
            let line: Line = serde_json::from_slice(line).ok()?;
            if line.v > VERSION || line.crc != crc32fast::hash(line.body.as_bytes()) {
                return None;
            }
            serde_json::from_str(&line.body).ok()
        })
        .collect()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(record: &Record) -> String {
        let body = serde_json::to_string(record).unwrap();
        let line = Line { v: VERSION, crc: crc32fast::hash(body.as_bytes()), body };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    fn sample(ifindex: u32) -> Record {
        Record::Filter { netns: NetnsRef { inode: 7 }, ifindex, device: "eth0".into() }
    }

    #[test]
    fn a_torn_last_line_loses_only_itself() {
        let whole = line(&sample(1)) + &line(&sample(2));
        let first = line(&sample(1)).len();
        for cut in first..whole.len() - 1 {
            assert_eq!(parse(&whole.as_bytes()[..cut]), [sample(1)], "cut at {cut}");
        }
        assert_eq!(parse(whole.as_bytes()), [sample(1), sample(2)]);
    }

    #[test]
    fn a_changed_record_is_not_believed() {
        let text = line(&sample(1)).replace("eth0", "eth1");
        assert_eq!(parse(text.as_bytes()), []);
    }

    proptest! {
        #[test]
        fn any_bytes_parse(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
