//! A file that takes up the room of a filesystem.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};

/// The name of a file that takes up room. Most filesystems let it have none; on the others it has
/// one for the moment between its making and its unlinking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillUndo {
    /// The file. Nobody else gives files such a name.
    pub file: PathBuf,
}

impl Undo for FillUndo {
    fn describe(&self) -> String {
        format!("the file {} that takes up room", self.file.display())
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        match std::fs::remove_file(&self.file) {
            Ok(()) => Ok(Undone::Restored(format!("room taken by {}", self.file.display()))),
            // The usual case: it has no name, and its room came back with its last descriptor.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Undone::Nothing),
            // The filesystem is not mounted any more.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Undone::Nothing),
            Err(error) => Err(UndoError::new(error)),
        }
    }

    fn survives_reboot(&self) -> bool {
        true
    }
}
