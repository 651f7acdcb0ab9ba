//! What an activity does.

use indexmap::IndexMap;
use serde_json::Value;

use super::fault::FaultSpec;
use super::observe::{DnsCall, LogCall, MetricsCall, PrometheusCall};
use super::service::Supervised;
use super::subject::Subject;
use super::units::Span;

/// What an activity does.
#[derive(Debug, Clone, PartialEq)]
pub enum Provider {
    /// An HTTP request.
    Http(HttpCall),
    /// A program that runs and ends.
    Process(ProcessCall),
    /// A TCP connection.
    Tcp(TcpCall),
    /// A name to be resolved.
    Dns(DnsCall),
    /// Lines of a log.
    Log(LogCall),
    /// What the kernel says about a process.
    Procfs(Subject),
    /// What systemd says about a unit, or an engine about a container.
    Service(Supervised),
    /// A page of metrics.
    Metrics(MetricsCall),
    /// A query to a Prometheus server.
    Prometheus(PrometheusCall),
    /// A fault.
    Fault(FaultSpec),
}

/// An HTTP request. Texts may hold `${name}`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCall {
    /// Where to.
    pub url: String,
    /// In capitals.
    pub method: String,
    /// Header fields.
    pub headers: IndexMap<String, Value>,
    /// Query of a GET, else the body: JSON if the content type says so, or a form, or a text.
    pub arguments: Option<Value>,
    /// For the whole exchange.
    pub timeout: Span,
    /// Whether the certificate is checked.
    pub verify_tls: bool,
    /// How often a failed connection is tried again.
    pub max_retries: u32,
}

/// A program that runs and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessCall {
    /// A name to be found in `PATH`, or a path.
    pub path: String,
    /// What it is given.
    pub arguments: Arguments,
    /// How long it may run.
    pub timeout: Span,
}

/// The arguments of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// One by one.
    List(Vec<Value>),
    /// Name and value alternating.
    Map(IndexMap<String, Value>),
    /// A command line, split into words as a POSIX shell splits quotes and spaces; nothing is
    /// expanded and no shell is run.
    Line(String),
}

/// A TCP connection, closed again at once.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpCall {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// For the handshake.
    pub timeout: Span,
}
