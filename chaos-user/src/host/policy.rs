//! The host's policies, from files that only root can have written.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::input::{bounded, read_text};
use crate::experiment::ExperimentError;
use crate::guard::{Approval, Policy};

/// Where the policy of a host is. If it exists it always counts.
pub const POLICY: &str = "/etc/chaos/policy.yaml";

/// Names one more policy, which can only forbid more.
pub const POLICY_VARIABLE: &str = "CHAOS_POLICY";

/// Why the policies could not be had. Nothing is done then.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It could not be read.
    #[error("read {}: {source}; nothing is done without it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody besides root could have written it.
    #[error(
        "{} could have been written by somebody besides root ({why}); nothing is done with it: \
         `chown root` and `chmod go-w` it", path.display()
    )]
    Untrusted {
        /// The file or its folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is not understood.
    #[error(transparent)]
    Malformed(#[from] ExperimentError),
}

/// The policies of this host: [`POLICY`] if there is one, and that of [`POLICY_VARIABLE`].
pub fn policies() -> Result<Vec<Policy>, PolicyError> {
    let further = std::env::var_os(POLICY_VARIABLE).map(PathBuf::from);
    let mut all = Vec::new();
    for (path, needed) in
        [(PathBuf::from(POLICY), false)].into_iter().chain(further.map(|path| (path, true)))
    {
        if let Some(text) = read_trusted(&path, needed)? {
            all.push(Policy::parse(&text, &path)?);
        }
    }
    Ok(all)
}

/// Reads an approval. Anybody may have written it: it says who to ask, and is no proof.
pub fn approval(path: &Path) -> Result<Approval, PolicyError> {
    let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
    Ok(Approval::parse(&read_text(path).map_err(unreadable)?, path)?)
}

/// A file that only root can have written; `None` if it is not there and not needed.
fn read_trusted(path: &Path, needed: bool) -> Result<Option<String>, PolicyError> {
    let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
    let file = File::options()
        .read(true)
        // Neither followed if it is a link, nor waited for if it is a pipe.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => return Ok(None),
        Err(source) => return Err(unreadable(source)),
    };
    let about = file.metadata().map_err(unreadable)?;
    let untrusted =
        |path: &Path, why: String| Err(PolicyError::Untrusted { path: path.to_owned(), why });
    if !about.is_file() {
        return untrusted(path, "it is not a regular file".into());
    }
    // The file that was opened, and the folder that it could have been put into.
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let around = std::fs::metadata(folder).map_err(unreadable)?;
    for (path, about) in [(path, &about), (folder, &around)] {
        if about.uid() != 0 {
            return untrusted(path, format!("it belongs to user {}", about.uid()));
        }
        if about.mode() & 0o022 != 0 {
            return untrusted(path, format!("its mode is {:o}", about.mode() & 0o7777));
        }
    }
    bounded(file).map(Some).map_err(unreadable)
}
