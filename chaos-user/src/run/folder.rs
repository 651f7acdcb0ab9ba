//! The folder of a run.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The folder of a run: its event log and what was made from it.
///
/// What probes saw is nobody else's business: the folder and its files are closed to others. They
/// belong to whom the folder around them belongs to, so that who runs the tool through sudo can read
/// them.
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
        make_all(parent).map_err(|source| FolderError { path: parent.to_owned(), source })?;
        let mut again = 1;
        loop {
            match make(&path) {
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
        self.create(&path).map_err(|source| FolderError { path, source })
    }

    /// Writes another of its files.
    pub fn write(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        let written = self.create(&path).and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(|source| FolderError { path, source })
    }

    /// A new file: never one that was there, nor where a link points.
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        give(&file, &self.0)?;
        Ok(file)
    }
}

/// Makes a folder and those above it that are missing.
fn make_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| *above != Path::new("")) {
        make_all(above)?;
    }
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes a folder that is closed to others.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let above = path.parent().filter(|above| *above != Path::new(""));
    give(&folder, above.unwrap_or(Path::new(".")))
}

/// Gives what was just made to the owner of the folder it is in.
fn give(file: &File, folder: &Path) -> io::Result<()> {
    let (around, about) = (folder.metadata()?, file.metadata()?);
    if around.uid() == about.uid() {
        return Ok(());
    }
    fchown(file, Some(around.uid()), Some(around.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_closed_to_others_and_follow_no_link() {
        let around = tempfile::tempdir().unwrap();
        let parent = around.path().join("a/b");
        let folder = RunFolder::below(&parent, "2026-11-27T12:00:00Z", "it").unwrap();
        drop(folder.log().unwrap());
        folder.write("report.txt", "secret").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&parent), mode(folder.path())), (0o700, 0o700));
        for file in [RunFolder::LOG, "report.txt"] {
            assert_eq!(mode(&folder.path().join(file)), 0o600);
        }
        let elsewhere = around.path().join("elsewhere");
        std::fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("report.md")).unwrap();
        folder.write("report.md", "x").unwrap_err();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
    }
}
