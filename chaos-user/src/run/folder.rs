//! The folder of a run.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of a run: its event log and what was made from it.
#[derive(Debug)]
pub struct RunFolder(PathBuf);

/// A file of a run could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {}: {source}", path.display())]
pub struct FolderError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl RunFolder {
    /// The name of the event log in it.
    pub const LOG: &'static str = "events.jsonl";

    /// Makes a folder for a run of `name` that began at `wall` (RFC 3339), below `parent`.
    pub fn below(parent: &Path, wall: &str, name: &str) -> Result<Self, FolderError> {
        let stamp: String = wall.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
        let mut path = parent.join(format!("{stamp}-{name}"));
        fs::create_dir_all(parent)
            .map_err(|source| FolderError { path: parent.to_owned(), source })?;
        let mut again = 1;
        loop {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && again < 1000 => {
                    again += 1;
                    path = parent.join(format!("{stamp}-{name}-{again}"));
                }
                Err(source) => return Err(FolderError { path, source }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates its event log.
    pub fn log(&self) -> Result<File, FolderError> {
        let path = self.0.join(Self::LOG);
        File::create_new(&path).map_err(|source| FolderError { path, source })
    }

    /// Writes another of its files.
    pub fn write(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        fs::write(&path, content).map_err(|source| FolderError { path, source })
    }
}
