//! The folder of a lab: what its processes see as `/etc`, their data and their logs.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::LabError;

/// Folders inside the lab's own, in the order of their making.
const ETC: &str = "etc";
const DATA: &str = "data";
const LOG: &str = "log";

/// How much of the end of a log is looked at, in bytes.
const TAIL: u64 = 4096;
/// How many lines of a log an error shows.
const TAIL_LINES: usize = 8;

/// The folder of a lab. What it made is removed when it is dropped.
#[derive(Debug)]
pub(super) struct LabFiles {
    root: PathBuf,
    made_root: bool,
    keep: bool,
}

impl LabFiles {
    /// Makes the folder, or takes it as it is; nobody but this user can look inside.
    pub(super) fn create(root: &Path, keep: bool) -> Result<Self, LabError> {
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let failed = |path: &Path, source| LabError::File {
            operation: "make the folder",
            path: path.into(),
            source,
        };
        let root = std::path::absolute(root).map_err(|source| failed(root, source))?;
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
        }
        let made_root = match make(&root) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(failed(&root, source)),
        };
        let files = Self { root, made_root, keep };
        for folder in [ETC, DATA, LOG] {
            let path = files.root.join(folder);
            make(&path).map_err(|source| failed(&path, source))?;
        }
        Ok(files)
    }

    /// Writes what a node sees as `/etc/hosts` and the files that make it count.
    pub(super) fn write_etc(
        &self,
        node: &str,
        hosts: &str,
    ) -> Result<Vec<(PathBuf, PathBuf)>, LabError> {
        let nsswitch = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
        let contents = [
            ("hosts", hosts.to_owned()),
            ("resolv.conf", String::from("# Names of this lab come from /etc/hosts.\n")),
            ("nsswitch.conf", hosts_from_files(&nsswitch)),
        ];
        let mut placed = Vec::new();
        for (name, content) in contents {
            let path = self.root.join(ETC).join(format!("{node}.{name}"));
            fs::write(&path, content).map_err(|source| LabError::File {
                operation: "write",
                path: path.clone(),
                source,
            })?;
            placed.push((path, Path::new("/etc").join(name)));
        }
        Ok(placed)
    }

    /// Makes the folder for the data of a process.
    pub(super) fn data(&self, node: &str, process: &str) -> Result<PathBuf, LabError> {
        let path = self.data_of(node, process);
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| LabError::File {
            operation: "make the folder",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// The folder that [`Self::data`] makes.
    pub(super) fn data_of(&self, node: &str, process: &str) -> PathBuf {
        self.root.join(DATA).join(format!("{node}.{process}"))
    }

    /// The log of a process.
    pub(super) fn log(&self, node: &str, process: &str) -> PathBuf {
        self.root.join(LOG).join(format!("{node}.{process}.log"))
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for LabFiles {
    fn drop(&mut self) {
        let folders: &[&str] = if self.keep { &[ETC] } else { &[LOG, DATA, ETC] };
        for folder in folders {
            let _ = fs::remove_dir_all(self.root.join(folder));
        }
        if self.made_root {
            // Fails, as it should, when something is left in it.
            let _ = fs::remove_dir(&self.root);
        }
    }
}

/// Some hosts ask a resolver daemon before `/etc/hosts`; the daemon answers for the host, not for
/// the lab.
fn hosts_from_files(nsswitch: &str) -> String {
    let others = nsswitch.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
    text.push_str("hosts: files dns\n");
    text
}

/// The last lines of a log, for an error message.
pub(super) fn last_lines(log: &Path) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().unwrap_or_default();
    let end = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = end.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_line_is_replaced() {
        let before = "passwd: files\nhosts: resolve [!UNAVAIL=return] files\n";
        assert_eq!(hosts_from_files(before), "passwd: files\nhosts: files dns\n");
        assert_eq!(hosts_from_files(""), "hosts: files dns\n");
    }

    #[test]
    fn files_are_gone_with_their_owner_unless_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lab");
        let files = LabFiles::create(&root, false).unwrap();
        files.write_etc("n", "").unwrap();
        files.data("n", "p").unwrap();
        assert!(LabFiles::create(&root, false).is_err(), "never two labs in one folder");
        drop(files);
        assert!(!root.exists());
        let files = LabFiles::create(&root, true).unwrap();
        fs::write(files.log("n", "p"), "x\n".repeat(20)).unwrap();
        assert_eq!(last_lines(&files.log("n", "p")).len(), TAIL_LINES);
        drop(files);
        assert!(root.join("log/n.p.log").exists() && !root.join("etc").exists());
    }
}
