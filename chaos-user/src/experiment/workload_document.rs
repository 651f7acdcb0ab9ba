//! Workloads as they are written.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::document::Text;
use super::units::Span;

/// The key `workload` of a `chaos` provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadDocument {
    pub(super) users: Option<Spanned<u32>>,
    pub(super) groups: Option<Spanned<u32>>,
    pub(super) rounds: Option<Spanned<u32>>,
    pub(super) after: Option<Text>,
    pub(super) rate: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) vary: IndexMap<String, Value>,
    #[serde(default)]
    pub(super) prepare: Vec<Spanned<StepDocument>>,
    #[serde(default)]
    pub(super) requests: Vec<Spanned<StepDocument>>,
    #[serde(default)]
    pub(super) verify: Vec<Spanned<StepDocument>>,
    #[serde(default)]
    pub(super) hits: Vec<u16>,
    pub(super) evidence: Option<Box<Spanned<StepDocument>>>,
    pub(super) watch: Option<WatchDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchDocument {
    pub(super) node: Option<Text>,
    pub(super) process: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) container: Option<Text>,
    pub(super) socket: Option<Text>,
    #[serde(rename = "pid-file")]
    pub(super) pid_file: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepDocument {
    pub(super) name: Option<Text>,
    pub(super) method: Option<String>,
    pub(super) url: Option<Text>,
    #[serde(default)]
    pub(super) headers: IndexMap<String, Value>,
    pub(super) body: Option<Spanned<Value>>,
    pub(super) size: Option<Text>,
    #[serde(default)]
    pub(super) chunked: bool,
    pub(super) payloads: Option<PayloadsDocument>,
    #[serde(default)]
    pub(super) retries: u32,
    pub(super) pause: Option<Span>,
    pub(super) timeout: Option<Span>,
    #[serde(default)]
    pub(super) save: IndexMap<String, Text>,
    pub(super) tolerance: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PayloadsDocument {
    pub(super) count: u32,
    #[serde(default)]
    pub(super) samples: Vec<String>,
    pub(super) seed: Option<u64>,
}
