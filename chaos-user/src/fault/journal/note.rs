//! What guardians did, for whoever looks later.

use std::io::Write as _;

use rustix::fs::OFlags;

use super::folder::{Folder, state_dirs};

/// The file in the state folder.
const FILE: &str = "guardian.log";
/// Longer than this it begins again, in bytes.
const LONGEST: u64 = 1 << 20;

/// Adds a line. Best effort: it is not what anything depends on.
pub(in super::super) fn note(text: &str) {
    let state = state_dirs().swap_remove(0);
    let Ok(Some(folder)) = Folder::of_state(&state, false) else { return };
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY;
    let Ok(Some(mut file)) = folder.file(FILE, flags) else { return };
    if file.metadata().is_ok_and(|found| found.len() > LONGEST) {
        let _ = file.set_len(0);
    }
    let now = jiff::Timestamp::now();
    let _ = writeln!(file, "{now:.0} {text}");
}
