//! `chaos schema`.

use super::output::say;
use crate::exit::Exit;
use crate::experiment::schema;

/// Print a JSON Schema of experiment files, for editors
///
/// It is made from what the parser itself reads. To use it in an editor with a YAML language server,
/// store it and begin the file with:  # yaml-language-server: $schema=chaos.schema.json
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {}

impl SchemaArgs {
    #[expect(clippy::unused_self, reason = "every command is run alike")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        say(&serde_json::to_string_pretty(&schema())?);
        Ok(Exit::Pass)
    }
}
