//! `chaos list`.

use super::experiments::{known, load};
use super::output::say;
use super::told::told;
use crate::exit::Exit;

/// List the experiments that `chaos run` knows by name
///
/// They are looked for in ./experiments, then in the workspace that this executable was built in.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON: an array of objects with name, title, file and, for a bad file, error
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let all: Vec<_> = known()
            .into_iter()
            .map(|(name, path)| (name.clone(), path.clone(), load(name, path)))
            .collect();
        if self.json {
            let rows: Vec<_> = all
                .iter()
                .map(|(name, path, found)| match found {
                    Ok(found) => serde_json::json!({
                        "name": name, "title": found.experiment.title, "file": path,
                    }),
                    Err(error) => serde_json::json!({
                        "name": name, "file": path, "error": told(error),
                    }),
                })
                .collect();
            say(&serde_json::to_string_pretty(&rows)?);
            return Ok(Exit::Pass);
        }
        if all.is_empty() {
            say("no experiments: there is no folder ./experiments with YAML or JSON files");
        }
        let width = all.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, _, found) in &all {
            match found {
                Ok(found) => say(&format!("{name:width$}  {}", found.experiment.title)),
                Err(error) => say(&format!("{name:width$}  does not read: {}", told(error))),
            }
        }
        Ok(Exit::Pass)
    }
}
