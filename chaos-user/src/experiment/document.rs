//! An experiment file as it is written: every key, with the place it stands at; nothing checked.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::guard::RulesDocument;

use super::units::{Bytes, Percent, PortRange, Protocol, Rate, Span};
use super::workload_document::WorkloadDocument;

pub(super) type Text = Spanned<String>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExperimentDocument {
    pub(super) title: Option<Text>,
    pub(super) description: Option<Text>,
    #[expect(dead_code, reason = "accepted because the Chaos Toolkit writes it")]
    pub(super) version: Option<Value>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    pub(super) configuration: IndexMap<String, Value>,
    #[serde(default)]
    pub(super) secrets: IndexMap<String, Value>,
    pub(super) controls: Option<Spanned<Vec<Value>>>,
    #[expect(dead_code, reason = "free-form data of other tools")]
    pub(super) contributions: Option<Value>,
    #[expect(dead_code, reason = "free-form data of other tools")]
    pub(super) extensions: Option<Value>,
    #[serde(rename = "steady-state-hypothesis")]
    pub(super) hypothesis: Option<Spanned<HypothesisDocument>>,
    pub(super) method: Option<Vec<Spanned<ActivityDocument>>>,
    #[serde(default)]
    pub(super) rollbacks: Vec<Spanned<ActivityDocument>>,
    #[serde(default)]
    pub(super) runtime: RuntimeDocument,
    pub(super) lab: Option<Text>,
    pub(super) target: Option<TargetDocument>,
    #[serde(default)]
    pub(super) recovery: RecoveryDocument,
    #[serde(default)]
    pub(super) invariants: Vec<Spanned<ActivityDocument>>,
    pub(super) environment: Option<Text>,
    pub(super) guards: Option<Spanned<RulesDocument>>,
    #[serde(default)]
    pub(super) safeguards: Vec<Spanned<ActivityDocument>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HypothesisDocument {
    pub(super) title: Option<Text>,
    #[serde(default)]
    pub(super) probes: Vec<Spanned<ActivityDocument>>,
    #[expect(dead_code, reason = "controls of a hypothesis are refused with those of the file")]
    pub(super) controls: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeDocument {
    pub(super) rollbacks: Option<StrategyDocument>,
    pub(super) hypothesis: Option<StrategyDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StrategyDocument {
    pub(super) strategy: Option<Text>,
    pub(super) frequency: Option<Spanned<Value>>,
    pub(super) fail_fast: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoveryDocument {
    pub(super) within: Option<Span>,
    pub(super) stable: Option<Span>,
    #[serde(default)]
    pub(super) steps: Vec<Spanned<ActivityDocument>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetDocument {
    pub(super) node: Option<String>,
    pub(super) process: Option<String>,
    pub(super) url: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) container: Option<String>,
    pub(super) socket: Option<String>,
    #[serde(rename = "pid-file")]
    pub(super) pid_file: Option<String>,
    pub(super) data: Option<String>,
    pub(super) namespaces: Option<Spanned<IndexMap<String, String>>>,
    #[serde(default)]
    pub(super) logs: Vec<String>,
}

impl TargetDocument {
    /// What `${target.KEY}` stands for.
    pub(super) fn values(&self) -> IndexMap<String, String> {
        let keys = [
            ("node", &self.node),
            ("process", &self.process),
            ("url", &self.url),
            ("unit", &self.unit),
            ("container", &self.container),
            ("socket", &self.socket),
            ("pid-file", &self.pid_file),
            ("data", &self.data),
        ];
        let given = keys.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let namespaces = self.namespaces.iter().flat_map(|namespaces| &namespaces.value);
        given
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .chain(namespaces.map(|(name, place)| (format!("namespaces.{name}"), place.clone())))
            .collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivityDocument {
    #[serde(rename = "ref")]
    pub(super) reference: Option<Text>,
    pub(super) name: Option<Text>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Text>,
    pub(super) provider: Option<Spanned<ProviderDocument>>,
    pub(super) tolerance: Option<Spanned<Value>>,
    pub(super) pauses: Option<PausesDocument>,
    #[serde(default)]
    pub(super) background: bool,
    pub(super) controls: Option<Spanned<Vec<Value>>>,
    pub(super) from: Option<Text>,
    pub(super) during: Option<Spanned<Value>>,
    pub(super) within: Option<Span>,
    #[serde(default)]
    pub(super) detects: bool,
    pub(super) timeout: Option<Spanned<Value>>,
    pub(super) parallel: Option<Vec<Spanned<ActivityDocument>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PausesDocument {
    pub(super) before: Option<Spanned<Value>>,
    pub(super) after: Option<Spanned<Value>>,
}

/// The keys of every provider; which of them belong together is checked by type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderDocument {
    #[serde(rename = "type")]
    pub(super) kind: Option<Text>,
    // http and process
    pub(super) url: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) headers: Option<Spanned<IndexMap<String, Value>>>,
    pub(super) arguments: Option<Spanned<Value>>,
    pub(super) timeout: Option<Spanned<Value>>,
    pub(super) verify_tls: Option<Spanned<bool>>,
    pub(super) max_retries: Option<Spanned<u32>>,
    pub(super) path: Option<Text>,
    // tcp
    pub(super) host: Option<Text>,
    pub(super) port: Option<Spanned<u16>>,
    // log, procfs, metrics, prometheus and dns
    pub(super) pattern: Option<Text>,
    pub(super) since: Option<Text>,
    #[serde(rename = "pid-file")]
    pub(super) pid_file: Option<Text>,
    pub(super) metric: Option<Text>,
    pub(super) labels: Option<Spanned<IndexMap<String, String>>>,
    pub(super) query: Option<Text>,
    pub(super) name: Option<Text>,
    pub(super) server: Option<Text>,
    pub(super) family: Option<Text>,
    // python and shared by the toolkit's providers
    pub(super) module: Option<Text>,
    pub(super) func: Option<Text>,
    pub(super) secrets: Option<Spanned<Value>>,
    // chaos
    pub(super) fault: Option<Text>,
    pub(super) duration: Option<Spanned<Span>>,
    pub(super) behavior: Option<Text>,
    pub(super) between: Option<Spanned<Vec<Value>>>,
    pub(super) node: Option<Text>,
    pub(super) process: Option<Text>,
    pub(super) direction: Option<Text>,
    pub(super) devices: Option<Spanned<Vec<String>>>,
    pub(super) protocol: Option<Spanned<Protocol>>,
    pub(super) local: Option<Spanned<Vec<Text>>>,
    pub(super) remote: Option<Spanned<Vec<Text>>>,
    #[serde(rename = "local-ports")]
    pub(super) local_ports: Option<Spanned<Vec<PortRange>>>,
    #[serde(rename = "remote-ports")]
    pub(super) remote_ports: Option<Spanned<Vec<PortRange>>>,
    pub(super) flows: Option<Spanned<Percent>>,
    pub(super) connections: Option<Text>,
    pub(super) loss: Option<Spanned<Percent>>,
    pub(super) exact: Option<Spanned<Percent>>,
    pub(super) share: Option<Spanned<Percent>>,
    pub(super) copies: Option<Spanned<u8>>,
    pub(super) checksum: Option<Text>,
    pub(super) seed: Option<Spanned<u64>>,
    pub(super) unit: Option<Text>,
    pub(super) container: Option<Text>,
    pub(super) socket: Option<Text>,
    pub(super) spare: Option<Spanned<u32>>,
    pub(super) cgroup: Option<Text>,
    pub(super) errno: Option<Text>,
    pub(super) operations: Option<Spanned<Vec<Text>>>,
    pub(super) cpus: Option<Spanned<f64>>,
    pub(super) high: Option<Spanned<Bytes>>,
    pub(super) rbps: Option<Spanned<Bytes>>,
    pub(super) wbps: Option<Spanned<Bytes>>,
    pub(super) riops: Option<Spanned<u32>>,
    pub(super) wiops: Option<Spanned<u32>>,
    pub(super) level: Option<Spanned<Percent>>,
    pub(super) leave: Option<Spanned<Bytes>>,
    pub(super) latency: Option<Spanned<Span>>,
    pub(super) jitter: Option<Spanned<Span>>,
    pub(super) correlation: Option<Spanned<Percent>>,
    pub(super) distribution: Option<Text>,
    pub(super) duplicate: Option<Spanned<Percent>>,
    pub(super) corrupt: Option<Spanned<Percent>>,
    pub(super) reorder: Option<Spanned<Percent>>,
    pub(super) gap: Option<Spanned<u32>>,
    pub(super) rate: Option<Spanned<Rate>>,
    pub(super) limit: Option<Spanned<u32>>,
    pub(super) ecn: Option<Spanned<bool>>,
    pub(super) force: Option<Spanned<bool>>,
    pub(super) workload: Option<Spanned<WorkloadDocument>>,
    pub(super) backend: Option<Text>,
    pub(super) ramp: Option<Spanned<Span>>,
    pub(super) queue: Option<Spanned<u32>>,
    #[serde(rename = "keep-order")]
    pub(super) keep_order: Option<Spanned<bool>>,
    #[serde(rename = "per-packet")]
    pub(super) per_packet: Option<Spanned<bool>>,
    pub(super) threads: Option<Spanned<u16>>,
    pub(super) spin: Option<Spanned<Span>>,
    pub(super) priority: Option<Spanned<u8>>,
    pub(super) table: Option<Spanned<Vec<i16>>>,
    pub(super) police: Option<Spanned<bool>>,
    pub(super) burst: Option<Spanned<Bytes>>,
    // netem of a whole device
    #[serde(rename = "loss-correlation")]
    pub(super) loss_correlation: Option<Spanned<Percent>>,
    #[serde(rename = "loss-gemodel")]
    pub(super) loss_gemodel: Option<Spanned<Vec<Percent>>>,
    #[serde(rename = "loss-state")]
    pub(super) loss_state: Option<Spanned<Vec<Percent>>>,
    #[serde(rename = "duplicate-correlation")]
    pub(super) duplicate_correlation: Option<Spanned<Percent>>,
    #[serde(rename = "corrupt-correlation")]
    pub(super) corrupt_correlation: Option<Spanned<Percent>>,
    #[serde(rename = "reorder-correlation")]
    pub(super) reorder_correlation: Option<Spanned<Percent>>,
    #[serde(rename = "packet-overhead")]
    pub(super) packet_overhead: Option<Spanned<i32>>,
    #[serde(rename = "cell-size")]
    pub(super) cell_size: Option<Spanned<u32>>,
    #[serde(rename = "cell-overhead")]
    pub(super) cell_overhead: Option<Spanned<i32>>,
    pub(super) slot: Option<Spanned<Vec<Span>>>,
    #[serde(rename = "slot-jitter")]
    pub(super) slot_jitter: Option<Spanned<Span>>,
    #[serde(rename = "slot-distribution")]
    pub(super) slot_distribution: Option<Text>,
    #[serde(rename = "slot-packets")]
    pub(super) slot_packets: Option<Spanned<u32>>,
    #[serde(rename = "slot-bytes")]
    pub(super) slot_bytes: Option<Spanned<u32>>,
}

impl ProviderDocument {
    /// The keys that are present, with where, for telling which do not belong.
    pub(super) fn present(&self) -> Vec<(&'static str, serde_saphyr::Location)> {
        macro_rules! present {
            ($($field:ident $(as $name:literal)?),*) => {{
                let mut keys = Vec::new();
                $(if let Some(value) = &self.$field {
                    let names = [stringify!($field), $($name)?];
                    keys.push((names[names.len() - 1], value.referenced));
                })*
                keys
            }};
        }
        present!(
            url, method, headers, arguments, timeout, verify_tls, max_retries, path, host, port,
            pattern, since, pid_file as "pid-file", metric, labels, query, name, server, family,
            module, func, secrets, fault, duration, behavior, between, node, process, direction,
            devices, protocol, local, remote, local_ports as "local-ports",
            remote_ports as "remote-ports", flows, connections, loss, exact, share, copies,
            checksum, seed, level, leave, latency, jitter,
            correlation, distribution, duplicate, corrupt, reorder, gap, rate, limit, ecn, force,
            backend, ramp, queue, keep_order as "keep-order", per_packet as "per-packet", threads, spin,
            priority, unit, container, socket, cgroup, errno, operations, workload, spare,
            cpus, high, rbps, wbps, riops, wiops, table, police, burst,
            loss_correlation as "loss-correlation", loss_gemodel as "loss-gemodel",
            loss_state as "loss-state", duplicate_correlation as "duplicate-correlation",
            corrupt_correlation as "corrupt-correlation",
            reorder_correlation as "reorder-correlation", packet_overhead as "packet-overhead",
            cell_size as "cell-size", cell_overhead as "cell-overhead", slot,
            slot_jitter as "slot-jitter", slot_distribution as "slot-distribution",
            slot_packets as "slot-packets", slot_bytes as "slot-bytes"
        )
    }
}
