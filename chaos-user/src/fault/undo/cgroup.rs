//! Cgroups that get less than they want.

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::host::{CgroupLimit, is_gone};

/// A cgroup whose limit may be lower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupUndo {
    /// Which limit.
    pub limit: CgroupLimit,
    /// What it was before.
    pub before: String,
    /// What it is now.
    pub ours: String,
}

impl Undo for CgroupUndo {
    fn describe(&self) -> String {
        let CgroupLimit { cgroup, file, .. } = &self.limit;
        format!("the limit {file} of the cgroup {}", cgroup.display())
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        match self.put_back() {
            // Its limits went with it.
            Err(error) if is_gone(&error) => Ok(Undone::Nothing),
            done => done.map_err(UndoError::new),
        }
    }
}

impl CgroupUndo {
    fn put_back(&self) -> std::io::Result<Undone> {
        // What somebody else has set since is theirs.
        if self.limit.read()? != self.ours || self.ours == self.before {
            return Ok(Undone::Nothing);
        }
        self.limit.write(&self.before)?;
        let now = self.limit.read()?;
        if now == self.ours {
            let why = format!("it stays at {now} although {} was written", self.before);
            return Err(std::io::Error::other(why));
        }
        Ok(Undone::Restored(self.describe()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn only_a_limit_that_is_still_ours_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.high");
        let undo = CgroupUndo {
            limit: CgroupLimit {
                cgroup: folder.path().to_owned(),
                id: std::fs::metadata(folder.path()).unwrap().ino(),
                file: "memory.high".into(),
                device: None,
            },
            before: "999999".into(),
            ours: "4096".into(),
        };
        let now = || std::fs::read_to_string(&file).unwrap();
        // Never made.
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
        std::fs::write(&file, "8192\n").unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
        assert_eq!(now(), "8192\n", "somebody else's");
        std::fs::write(&file, "4096").unwrap();
        let mut of_earlier = undo.clone();
        of_earlier.limit.id += 1;
        assert_eq!(of_earlier.undo().unwrap(), Undone::Nothing);
        assert_eq!(now(), "4096", "of another cgroup at the same place");
        assert!(matches!(undo.undo().unwrap(), Undone::Restored(_)));
        assert_eq!(now(), "999999");
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
    }
}
