//! `chaos validate`.

use super::experiments::{find, load};
use super::output::{complain, say};
use super::told::told;
use crate::exit::Exit;

/// Check experiment files without running or touching anything
///
/// Each is read, and so is its lab file: unknown keys, bad values and unknown nodes are told with
/// file, line and column. Exits 64 if one is bad.
#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    /// Files, or names that `chaos list` shows
    #[arg(required = true, value_name = "FILE|NAME")]
    experiments: Vec<String>,
}

impl ValidateArgs {
    pub(super) fn run(self) -> Exit {
        let mut exit = Exit::Pass;
        for given in self.experiments {
            match find(&given).and_then(|(name, path)| load(name, path)) {
                Ok(found) => say(&format!("{}: ok", found.path.display())),
                Err(error) => {
                    complain(&told(&error));
                    exit = Exit::Usage;
                }
            }
        }
        exit
    }
}
