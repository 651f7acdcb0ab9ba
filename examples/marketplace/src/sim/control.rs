//! How the simulator can be told to misbehave, for tests.

use serde::{Deserialize, Serialize};

/// What is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// What it says that is not true.
    pub lie: Lie,
    /// How long it waits before it answers.
    pub delay_ms: u64,
    /// It does what it is asked, but the answers to this method get lost; `*` means all.
    pub lose: String,
}

/// What is not true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Everything is.
    #[default]
    None,
    /// The address.
    Address,
    /// The key-exchange message.
    Info,
}
