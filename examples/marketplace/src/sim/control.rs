//! How the simulator can be told to misbehave, for tests.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wallet::Wallet;

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

impl Control {
    /// Puts a lie in place of what `answer`, the result of a call, says. Whether there was anything
    /// to lie about.
    pub(super) fn distort(&self, answer: &mut Value) -> bool {
        let (field, lie) = match self.lie {
            Lie::None => return false,
            Lie::Address => ("address", Wallet::new(u64::MAX, "liar", "", 0).address()),
            Lie::Info => ("multisig_info", "INVALID@#$%".to_owned()),
        };
        match answer.get_mut(field) {
            // Before the last step there is no address, and a last message is not read.
            Some(value) if value.as_str().is_some_and(|text| !text.is_empty()) => {
                *value = json!(lie);
                true
            }
            _ => false,
        }
    }
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
