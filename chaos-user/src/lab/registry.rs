//! The labs of this host that have a supervisor: one folder each, locked while the lab lives.
//!
//! A lock ends with its process, however that ended; so a folder that can be locked belongs to a
//! lab that is gone, and is removed by whoever finds it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::check::label;
use super::record::{LabRecord, NodeRecord};
use super::spec_error::{Problem, nearest};
use crate::kernel::netns::{NetNs, NetNsError};
use crate::target::{ProcessError, Spawner, Surroundings, wait_readable};

/// Where labs are kept unless `CHAOS_STATE_DIR` names another place for `chaos`.
const RUN_DIR: &str = "/run/chaos";
/// How often a taken name is tried again, and the pause between.
const CLAIM_TRIES: u32 = 10;
const CLAIM_PAUSE: Duration = Duration::from_millis(20);
/// How long a supervisor may take to take its lab down before it is killed.
const DOWN_WITHIN: Duration = Duration::from_secs(20);
/// How long a killed supervisor may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Why a lab could not be found, claimed or ended.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A lab of this name is up.
    #[error("lab {name:?} is already up; `chaos lab down {name}` ends it")]
    AlreadyUp {
        /// The name.
        name: String,
    },
    /// No lab of this name is up.
    #[error("no lab named {name:?} is up{}", hint(name, known))]
    Unknown {
        /// The name.
        name: String,
        /// Every lab that is.
        known: Vec<String>,
    },
    /// A lab had to be named.
    #[error("{} labs are up; say which one: {}", known.len(), known.join(", "))]
    Which {
        /// Every lab that is up.
        known: Vec<String>,
    },
    /// There is none.
    #[error("no lab is up; `chaos lab up FILE` starts one")]
    NoneUp,
    /// The name cannot be that of a lab.
    #[error("{name:?} cannot be the name of a lab: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The lab has no such node.
    #[error("lab {lab:?} has no node {name:?}{}", hint(name, known))]
    UnknownNode {
        /// The lab.
        lab: String,
        /// The node.
        name: String,
        /// Every node of the lab.
        known: Vec<String>,
    },
    /// The lab is still coming up.
    #[error("lab {name:?} is not up yet")]
    NotYet {
        /// The name.
        name: String,
    },
    /// A file could not be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record is not what a supervisor of this version writes.
    #[error("cannot read {}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The node's namespace is not the one that was recorded.
    #[error("lab {lab:?} has just ended")]
    Gone {
        /// The lab.
        lab: String,
    },
    /// A namespace could not be opened.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    /// Processes cannot be started there.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The supervisor could not be told to end.
    #[error("cannot end the supervisor of lab {lab:?} ({pid}): {}", errno.desc())]
    Signal {
        /// The lab.
        lab: String,
        /// The supervisor.
        pid: u32,
        /// What the kernel said.
        errno: Errno,
    },
    /// The supervisor did not end.
    #[error("the supervisor of lab {lab:?} ({pid}) did not end although it was killed")]
    Unkillable {
        /// The lab.
        lab: String,
        /// The supervisor.
        pid: u32,
    },
}

fn hint(name: &str, known: &[String]) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None if known.is_empty() => "; there is none".into(),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// The folder of all labs.
#[derive(Debug, Clone)]
pub struct Registry {
    root: PathBuf,
}

/// The right to a lab's name. Dropping it removes the lab's folder.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Registry {
    /// The labs of this host: those in `/run/chaos/labs`, or under `CHAOS_STATE_DIR`.
    pub fn of_host() -> Self {
        let run = std::env::var_os("CHAOS_STATE_DIR").filter(|dir| !dir.is_empty());
        Self { root: run.map_or_else(|| RUN_DIR.into(), PathBuf::from).join("labs") }
    }

    fn folder(&self, name: &str) -> Result<PathBuf, RegistryError> {
        label("lab", name).map_err(|problem| RegistryError::Name { name: name.into(), problem })?;
        Ok(self.root.join(name))
    }

    /// Takes a name, and what a dead lab of that name left.
    pub fn claim(&self, name: &str) -> Result<Claim, RegistryError> {
        for _ in 0..CLAIM_TRIES {
            match self.try_claim(name) {
                // Perhaps somebody only looked whether the lab lives.
                Err(RegistryError::AlreadyUp { .. }) => std::thread::sleep(CLAIM_PAUSE),
                other => return other,
            }
        }
        self.try_claim(name)
    }

    fn try_claim(&self, name: &str) -> Result<Claim, RegistryError> {
        let folder = self.folder(name)?;
        let failed = |source| RegistryError::File {
            operation: "make the folder",
            path: folder.clone(),
            source,
        };
        let mut private = DirBuilder::new();
        private.mode(0o700);
        loop {
            private.recursive(true).create(&folder).map_err(failed)?;
            let path = folder.join("lock");
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
            let file = match file {
                Ok(file) => file,
                // Its last owner is just removing it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    return Err(RegistryError::File { operation: "open", path, source });
                }
            };
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(RegistryError::AlreadyUp { name: name.into() });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            // The folder may have been removed between opening and locking; then this lock guards
            // nothing.
            let same = lock.metadata().ok().zip(path.metadata().ok());
            if same.is_some_and(|(mine, there)| mine.ino() == there.ino()) {
                let claim = Claim { folder, _lock: lock };
                claim.empty();
                return Ok(claim);
            }
        }
    }

    /// The names of the labs that are up, sorted; removes what dead ones left.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| matches!(self.try_claim(name), Err(RegistryError::AlreadyUp { .. })))
            .collect();
        names.sort();
        names
    }

    /// The lab of this name, or the only one.
    pub fn find(&self, name: Option<&str>) -> Result<LabRecord, RegistryError> {
        let known = self.names();
        let name = match (name, known.as_slice()) {
            (Some(name), _) if known.iter().any(|other| other == name) => name.to_owned(),
            (Some(name), _) => {
                self.folder(name)?;
                return Err(RegistryError::Unknown { name: name.into(), known });
            }
            (None, [only]) => only.clone(),
            (None, []) => return Err(RegistryError::NoneUp),
            (None, _) => return Err(RegistryError::Which { known }),
        };
        let path = self.folder(&name)?.join("lab.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RegistryError::NotYet { name });
            }
            Err(source) => return Err(RegistryError::File { operation: "read", path, source }),
        };
        serde_json::from_str(&text).map_err(|source| RegistryError::Record { path, source })
    }

    /// Ends a lab: its supervisor is asked, then killed; either way nothing of it is left.
    pub fn down(&self, record: &LabRecord) -> Result<(), RegistryError> {
        let (lab, pid) = (record.name.clone(), record.supervisor);
        let signal = |errno: rustix::io::Errno| RegistryError::Signal {
            lab: lab.clone(),
            pid,
            errno: Errno::from_raw(errno.raw_os_error()),
        };
        let raw = Pid::from_raw(pid.cast_signed()).ok_or_else(|| signal(rustix::io::Errno::SRCH));
        let pidfd = pidfd_open(raw?, PidfdFlags::empty()).map_err(signal)?;
        // While the lab is locked its supervisor lives, so the descriptor means the supervisor.
        if !self.names().contains(&lab) {
            return Ok(());
        }
        pidfd_send_signal(&pidfd, Signal::TERM).map_err(signal)?;
        if !wait_readable(pidfd.as_fd(), DOWN_WITHIN) {
            pidfd_send_signal(&pidfd, Signal::KILL).map_err(signal)?;
            if !wait_readable(pidfd.as_fd(), KILL_WITHIN) {
                return Err(RegistryError::Unkillable { lab, pid });
            }
        }
        // A killed supervisor leaves its folder; looking at the names removes it.
        self.names();
        Ok(())
    }
}

impl LabRecord {
    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&NodeRecord, RegistryError> {
        self.nodes.iter().find(|node| node.name == name).ok_or_else(|| RegistryError::UnknownNode {
            lab: self.name.clone(),
            name: name.into(),
            known: self.nodes.iter().map(|node| node.name.clone()).collect(),
        })
    }

    /// What a command on a node sees around it, and what starts it in the lab's PID namespace.
    pub fn enter(&self, node: &NodeRecord) -> Result<(Surroundings, Spawner), RegistryError> {
        let gone = || RegistryError::Gone { lab: self.name.clone() };
        let netns = NetNs::from_path(&node.netns).map_err(|error| match error {
            NetNsError::Open { errno: Errno::ENOENT | Errno::ESRCH, .. } => gone(),
            other => other.into(),
        })?;
        // The path could lead somewhere else by now: the numbers of processes are used again.
        if netns.inode() != node.inode || netns == NetNs::of_this_process()? {
            return Err(gone());
        }
        let path = PathBuf::from(format!("/proc/{}/ns/pid", self.init.ok_or_else(gone)?));
        let processes: OwnedFd = File::open(&path)
            .map_err(|source| RegistryError::File {
                operation: "open",
                path: path.clone(),
                source,
            })?
            .into();
        let own = Path::new("/proc/self/ns/pid").metadata().ok();
        let there = path.metadata().ok();
        if own.zip(there).is_none_or(|(own, there)| own.ino() == there.ino()) {
            return Err(gone());
        }
        let mounts = match &node.mounts {
            None => None,
            Some(path) => {
                let source =
                    |source| RegistryError::File { operation: "open", path: path.clone(), source };
                Some(Arc::new(File::open(path).map_err(source)?.into()))
            }
        };
        let surroundings = Surroundings { netns, mounts, files: node.files.clone() };
        Ok((surroundings, Spawner::inside(processes)?))
    }
}

impl Claim {
    /// The folder that belongs to the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the record for others to find, all of it or nothing.
    pub fn publish(&self, record: &LabRecord) -> Result<(), RegistryError> {
        let path = self.folder.join("lab.json");
        let new = self.folder.join("lab.json.new");
        let failed = |source| RegistryError::File { operation: "write", path: new.clone(), source };
        let text = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        fs::write(&new, text).map_err(failed)?;
        fs::rename(&new, &path).map_err(failed)
    }

    fn empty(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name() == "lock" {
                continue;
            }
            let path = entry.path();
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
                _ => fs::remove_file(path),
            };
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.empty();
        // The lock goes last, and ends when this returns.
        let _ = fs::remove_file(self.folder.join("lock"));
        let _ = fs::remove_dir(&self.folder);
    }
}
