//! Filesystems that this host or this tool depends on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::journal::state_dirs;

/// What a filesystem with this `st_dev` holds that must go on working; `own` is a file or folder of
/// this run.
pub(super) fn precious(device: u64, own: Option<&Path>) -> Option<&'static str> {
    // What does not exist yet will be where its parent is.
    let same = |path: &Path| {
        let found = path.ancestors().find_map(|path| fs::metadata(path).ok());
        found.is_some_and(|file| file.dev() == device)
    };
    let state = state_dirs();
    let mut holds = vec![(Path::new("/"), "`/`")];
    holds.extend(state.iter().map(|path| (path.as_path(), "this tool's journal")));
    holds.extend(own.map(|path| (path, "this run's results")));
    holds.into_iter().find(|(path, _)| same(path)).map(|(_, holds)| holds)
}
