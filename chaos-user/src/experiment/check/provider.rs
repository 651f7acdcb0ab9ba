//! Providers.

use indexmap::IndexMap;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::activity::Context;
use super::{Failed, fault, observe, service, value, workload};
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::provider::{Arguments, HttpCall, ProcessCall, Provider, TcpCall};
use crate::experiment::units::Span;

/// A request without a time-out of its own ends after this long.
const HTTP_TIMEOUT: Span = Span::from_secs(10);
/// A program without a time-out of its own ends after this long.
const PROCESS_TIMEOUT: Span = Span::from_secs(300);
/// A handshake without a time-out of its own ends after this long.
const TCP_TIMEOUT: Span = Span::from_secs(2);
/// A question without a time-out of its own ends after this long.
const DNS_TIMEOUT: Span = Span::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Type {
    Http,
    Process,
    Tcp,
    Dns,
    Log,
    Procfs,
    Metrics,
    Prometheus,
    Unit,
    Container,
    Chaos,
    Python,
}

const TYPES: [(&str, Type); 12] = [
    ("http", Type::Http),
    ("process", Type::Process),
    ("tcp", Type::Tcp),
    ("dns", Type::Dns),
    ("log", Type::Log),
    ("procfs", Type::Procfs),
    ("metrics", Type::Metrics),
    ("prometheus", Type::Prometheus),
    ("unit", Type::Unit),
    ("container", Type::Container),
    ("chaos", Type::Chaos),
    ("python", Type::Python),
];

pub(super) fn provider(
    context: &Context<'_>,
    written: &Spanned<ProviderDocument>,
    outer_timeout: Option<&Spanned<Value>>,
    from: Option<&Text>,
) -> Result<Provider, Failed> {
    let place = Place::from(written.referenced);
    let document = &written.value;
    let missing = |what: &str, key, purpose| {
        (place, Problem::Missing { what: what.to_owned(), key, purpose })
    };
    let kind = document.kind.as_ref();
    let kind =
        kind.ok_or_else(|| missing("a provider", "type", "such as http, process or chaos"))?;
    let timeout = document.timeout.as_ref().or(outer_timeout);
    let timeout = |default| timeout.map_or(Ok(default), |given| value::span(given, "a time-out"));
    match value::word(kind, "a type of provider", &TYPES)? {
        Type::Python => {
            let module = document.module.as_ref().map_or("?", |module| &module.value);
            Err((place, Problem::Python { module: module.to_owned() }))
        }
        Type::Http => {
            only(
                document,
                "http",
                "url, method, headers, arguments, timeout, verify_tls, max_retries, secrets",
            )?;
            let url = document.url.as_ref();
            let url = url.ok_or_else(|| missing("an http provider", "url", "where to ask"))?;
            let method = document.method.as_ref().map_or("GET", |method| &method.value);
            Ok(Provider::Http(HttpCall {
                url: url.value.clone(),
                method: method.to_uppercase(),
                headers: document.headers.as_ref().map_or_else(IndexMap::new, |h| h.value.clone()),
                arguments: document.arguments.as_ref().map(|arguments| arguments.value.clone()),
                timeout: timeout(HTTP_TIMEOUT)?,
                verify_tls: document.verify_tls.as_ref().is_none_or(|verify| verify.value),
                max_retries: document.max_retries.as_ref().map_or(0, |retries| retries.value),
            }))
        }
        Type::Process => {
            only(document, "process", "path, arguments, timeout, secrets")?;
            let path = document.path.as_ref();
            let path =
                path.ok_or_else(|| missing("a process provider", "path", "the program to run"))?;
            Ok(Provider::Process(ProcessCall {
                path: path.value.clone(),
                arguments: arguments(document.arguments.as_ref())?,
                timeout: timeout(PROCESS_TIMEOUT)?,
            }))
        }
        Type::Tcp => {
            only(document, "tcp", "host, port, timeout")?;
            let host = document.host.as_ref();
            let host = host.ok_or_else(|| missing("a tcp provider", "host", "where to connect"))?;
            let port = document.port.as_ref();
            let port = port.ok_or_else(|| missing("a tcp provider", "port", "where to connect"))?;
            Ok(Provider::Tcp(TcpCall {
                host: host.value.clone(),
                port: port.value,
                timeout: timeout(TCP_TIMEOUT)?,
            }))
        }
        Type::Dns => observe::dns(document, place, timeout(DNS_TIMEOUT)?).map(Provider::Dns),
        Type::Log => observe::log(context, document, place).map(Provider::Log),
        Type::Procfs => observe::procfs(context, document, place).map(Provider::Procfs),
        Type::Metrics => {
            observe::metrics(document, place, timeout(HTTP_TIMEOUT)?).map(Provider::Metrics)
        }
        Type::Prometheus => {
            observe::prometheus(document, place, timeout(HTTP_TIMEOUT)?).map(Provider::Prometheus)
        }
        Type::Unit => {
            only(document, "unit", "unit")?;
            service::needed(context, document, place, "a unit provider", "unit")
                .map(Provider::Service)
        }
        Type::Container => {
            only(document, "container", "container, socket")?;
            let what = "a container provider";
            service::needed(context, document, place, what, "container").map(Provider::Service)
        }
        Type::Chaos => match &document.workload {
            Some(written) => {
                only(document, "a workload", workload::KEYS)?;
                workload::workload(context, document, written, from).map(Provider::Fault)
            }
            None => fault::fault(context, document, place).map(Provider::Fault),
        },
    }
}

/// Refuses keys that another type of provider has.
pub(super) fn only(
    document: &ProviderDocument,
    what: &str,
    known: &'static str,
) -> Result<(), Failed> {
    let misplaced =
        document.present().into_iter().find(|(key, _)| !known.split(", ").any(|k| k == *key));
    match misplaced {
        None => Ok(()),
        Some((key, location)) => {
            Err((location.into(), Problem::Misplaced { key, what: format!("`{what}`"), known }))
        }
    }
}

fn arguments(written: Option<&Spanned<Value>>) -> Result<Arguments, Failed> {
    let Some(written) = written else { return Ok(Arguments::List(Vec::new())) };
    match &written.value {
        Value::Null => Ok(Arguments::List(Vec::new())),
        Value::Array(list) => Ok(Arguments::List(list.clone())),
        Value::Object(map) => {
            Ok(Arguments::Map(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()))
        }
        Value::String(line) => Ok(Arguments::Line(line.clone())),
        other => Err((
            written.referenced.into(),
            Problem::Value {
                what: "`arguments`",
                wanted: "a list, a map or a command line",
                given: other.to_string(),
            },
        )),
    }
}
