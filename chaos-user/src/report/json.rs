//! The report for programs.

use crate::verdict::Findings;

/// What a run showed, as JSON.
pub fn json(findings: &Findings) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(findings).map(|text| text + "\n")
}
