//! Proof that a fault acted, from the kernel's counters.

use serde::{Deserialize, Serialize};

/// What one rule saw and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEvidence {
    /// The rule's name.
    pub rule: String,
    /// Packets (and connect calls) that were looked at where the rule looks.
    pub seen: u64,
    /// Those that its selector chose inside its time window.
    pub matched: u64,
    /// Those that its action was applied to.
    pub acted: u64,
    /// Bytes of those, link layer included.
    pub bytes: u64,
}

impl RuleEvidence {
    /// Whether the rule did anything.
    pub fn is_proof(&self) -> bool {
        self.acted > 0
    }
}

/// A rule acting on one packet, sampled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The rule's name.
    pub rule: String,
    /// CLOCK_BOOTTIME, ns.
    pub time: u64,
    /// The rule's decision number.
    pub sequence: u64,
    /// This side, `address:port`.
    pub local: String,
    /// The other side.
    pub remote: String,
    /// IP protocol number.
    pub protocol: u8,
    /// Bytes.
    pub length: u32,
}
