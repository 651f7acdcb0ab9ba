//! Printing that outlives its reader: a closed pipe must not end a run that has faults to heal.

use std::io::{self, Write as _};

/// Prints to standard output as it is.
pub(super) fn out(text: &str) {
    // Nobody is left to tell.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a line to standard output.
pub(super) fn say(line: &str) {
    out(&format!("{line}\n"));
}

/// Prints a line to standard error.
pub(super) fn complain(line: &str) {
    // As above.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
