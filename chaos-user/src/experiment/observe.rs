//! What probes look at besides requests and programs: logs, processes, metrics, names.

use std::path::PathBuf;

use indexmap::IndexMap;
use regex::Regex;

use super::fault::Target;
use super::units::Span;

/// Lines of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogCall {
    /// Whose log.
    pub source: LogSource,
    /// What a line has to contain to count.
    pub pattern: Pattern,
    /// Since when lines count.
    pub since: Since,
}

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output and error of a process of the lab.
    Process(Target),
    /// Standard output and error of a container. May hold `${name}`.
    Container {
        /// Its name or id.
        name: String,
        /// The engine's socket.
        socket: PathBuf,
    },
    /// A file. May hold `${name}`.
    Path(String),
}

/// Since when lines count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since the last fault began or began to be healed; before the first, since the run began.
    Phase,
    /// Since the run began.
    Run,
}

/// A regular expression, equal to another with the same text.
#[derive(Debug, Clone)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A page of metrics in the text format of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsCall {
    /// The page. May hold `${name}`.
    pub url: String,
    /// The name of the metric.
    pub metric: String,
    /// Labels that a series must have, with these values.
    pub labels: IndexMap<String, String>,
    /// For the whole exchange.
    pub timeout: Span,
}

/// A query to a Prometheus server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusCall {
    /// The server. May hold `${name}`.
    pub url: String,
    /// PromQL. May hold `${name}`.
    pub query: String,
    /// For the whole exchange.
    pub timeout: Span,
}

/// A name to be resolved. Texts may hold `${name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCall {
    /// The name.
    pub name: String,
    /// The server to ask, `address` or `address:port`; without it what the place itself uses.
    pub server: Option<String>,
    /// Which addresses are asked for.
    pub family: Family,
    /// For the answer.
    pub timeout: Span,
}

/// A kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4: records of type A.
    V4,
    /// IPv6: records of type AAAA.
    V6,
}
