//! Why the journal could not be written or read.

use std::io;
use std::path::{Path, PathBuf};

/// The journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Without a journal no fault is started.
    #[error("cannot {what} the journal {}: {source}; nothing is changed that could not be put back after a crash", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The errno.
        #[source]
        source: io::Error,
    },
    /// Somebody else could write there.
    #[error("the journal's folder {} cannot be trusted: {why}; what is in it is replayed as root", path.display())]
    Unsafe {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Two runs of one name.
    #[error("a run named `{run}` is active already (`chaos status` shows it)")]
    Busy {
        /// Its name.
        run: String,
    },
    /// A run without its guardian must not change anything.
    #[error("{why}")]
    Unguarded {
        /// What became of it.
        why: String,
    },
    /// The guardian could not be started.
    #[error(
        "cannot start the guardian of the run: {source}; nothing was touched, because nobody would put it back after a crash"
    )]
    Guardian {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A run's name is also a folder's.
    #[error(
        "`{run}` cannot be the name of a run: it has to be 1 to 100 bytes without `/` and not begin with a dot"
    )]
    Name {
        /// What was given.
        run: String,
    },
}

impl JournalError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
