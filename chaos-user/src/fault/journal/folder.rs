//! Folders that nobody but root can have tampered with, reached without following links.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::JournalError;

/// Where runs are kept unless `CHAOS_STATE_DIR` names another place. Not below `/run`: a fill file
/// survives a reboot, so what removes it has to.
const STATE_DIR: &str = "/var/lib/chaos";
/// Where earlier versions kept them.
const FORMER_STATE_DIR: &str = "/run/chaos";

/// Every folder that may hold runs, the one for new ones first.
pub(in crate::fault) fn state_dirs() -> Vec<PathBuf> {
    match std::env::var_os("CHAOS_STATE_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => vec![dir.into()],
        None => vec![STATE_DIR.into(), FORMER_STATE_DIR.into()],
    }
}

/// An open folder that is ours alone.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Folder {
    /// The folder of runs below a state folder; `None` if there is none and none is to be made.
    pub(super) fn of_runs(state: &Path, create: bool) -> Result<Option<Self>, JournalError> {
        match Self::of_state(state, create)? {
            Some(state) => state.child("runs", create),
            None => Ok(None),
        }
    }

    /// A state folder; `None` if there is none and none is to be made.
    pub(super) fn of_state(state: &Path, create: bool) -> Result<Option<Self>, JournalError> {
        let state = std::path::absolute(state).map_err(JournalError::io("find", state))?;
        if create {
            // Existing folders stay as they are.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&state)
                .map_err(JournalError::io("make the folder of", &state))?;
        }
        let (Some(parent), Some(name)) = (state.parent(), state.file_name()) else {
            let why = "it has no name".into();
            return Err(JournalError::Unsafe { path: state, why });
        };
        // Links on the way are root's (checked below), the last part must not be one.
        let parent = match parent.canonicalize() {
            Ok(parent) => parent,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            Err(error) => return Err(JournalError::io("find", parent)(error)),
        };
        for folder in parent.ancestors() {
            let found = folder.symlink_metadata().map_err(JournalError::io("inspect", folder))?;
            check_ancestor(folder, &found)?;
        }
        let state = parent.join(name);
        Self::open_at(CWD, &state, &state)
    }

    fn open_at(
        at: impl std::os::fd::AsFd,
        name: &Path,
        path: &Path,
    ) -> Result<Option<Self>, JournalError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(at, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => {
                let why = format!("it is no folder ({errno})");
                return Err(JournalError::Unsafe { path: path.into(), why });
            }
            Err(errno) => return Err(JournalError::io("open", path)(errno.into())),
        };
        let file = File::from(fd);
        let found = file.metadata().map_err(JournalError::io("inspect", path))?;
        check_own(path, &found)?;
        Ok(Some(Self { fd: Arc::new(file.into()), path: path.into() }))
    }

    /// A folder below this one. Of ours, it is closed to readers too.
    pub(super) fn child(&self, name: &str, create: bool) -> Result<Option<Self>, JournalError> {
        let path = self.path.join(name);
        if create {
            match rustix::fs::mkdirat(&*self.fd, name, Mode::RWXU) {
                Ok(()) => self.sync()?,
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(JournalError::io("make the folder of", &path)(errno.into()));
                }
            }
        }
        let Some(child) = Self::open_at(&*self.fd, Path::new(name), &path)? else {
            return Ok(None);
        };
        if create {
            rustix::fs::fchmod(&*child.fd, Mode::RWXU)
                .map_err(|errno| JournalError::io("close the folder of", &path)(errno.into()))?;
        }
        Ok(Some(child))
    }

    /// Opens a file in it, which must be an ordinary one of ours.
    pub(super) fn file(&self, name: &str, flags: OFlags) -> Result<Option<File>, JournalError> {
        let path = self.path.join(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&*self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(JournalError::io("open", &path)(errno.into())),
        };
        let found = file.metadata().map_err(JournalError::io("inspect", &path))?;
        if !found.is_file() {
            return Err(JournalError::Unsafe { path, why: "it is no ordinary file".into() });
        }
        check_own(&path, &found)?;
        Ok(Some(file))
    }

    /// Names in it, without those that begin with a dot unless `hidden`.
    pub(super) fn names(&self, hidden: bool) -> Result<Vec<String>, JournalError> {
        let read = |errno: Errno| JournalError::io("list", &self.path)(errno.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&*self.fd).map_err(read)? {
            let name = OsString::from_vec(entry.map_err(read)?.file_name().to_bytes().to_vec());
            // Whatever is not text was not put there by this program.
            let Ok(name) = name.into_string() else { continue };
            if name != "." && name != ".." && name.starts_with('.') == hidden {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Gives a folder in it another name, unless that is taken (EEXIST).
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        rustix::fs::renameat_with(&*self.fd, from, &*self.fd, to, RenameFlags::NOREPLACE)
    }

    /// Removes a folder in it, with its files.
    pub(super) fn remove(&self, name: &str) -> Result<(), JournalError> {
        let path = self.path.join(name);
        let failed = |errno: Errno| JournalError::io("remove", &path)(errno.into());
        let Some(child) = self.child(name, false)? else { return Ok(()) };
        for hidden in [false, true] {
            for file in child.names(hidden)? {
                match rustix::fs::unlinkat(&*child.fd, &file, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        match rustix::fs::unlinkat(&*self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => self.sync(),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes the folder of a run, all at once for others: what is left of it if this process dies
    /// meanwhile is a draft of it, which is swept.
    pub(super) fn remove_run(&self, name: &str) -> Result<(), JournalError> {
        let draft = format!(".{}-over-{name}", std::process::id());
        match self.rename(name, &draft) {
            Ok(()) => self.remove(&draft),
            Err(_) => self.remove(name),
        }
    }

    /// Waits until its names are on disk.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        rustix::fs::fsync(&*self.fd)
            .map_err(|errno| JournalError::io("sync the folder of", &self.path)(errno.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder or file of ours: nobody else owns it or can write to it.
fn check_own(path: &Path, found: &Metadata) -> Result<(), JournalError> {
    let ours = rustix::process::geteuid().as_raw();
    let why = if found.uid() != ours && found.uid() != 0 {
        format!("it belongs to user {}", found.uid())
    } else if found.mode() & 0o022 != 0 {
        format!("others can write to it (mode {:o})", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(JournalError::Unsafe { path: path.into(), why })
}

/// A folder above: nobody else could put another folder in the place of ours.
fn check_ancestor(path: &Path, found: &Metadata) -> Result<(), JournalError> {
    const STICKY: u32 = 0o1000;
    if found.mode() & STICKY != 0 && found.uid() == 0 { Ok(()) } else { check_own(path, found) }
}
