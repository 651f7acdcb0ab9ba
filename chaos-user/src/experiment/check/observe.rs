//! Providers that look at logs, processes, metrics and names.

use std::net::{IpAddr, SocketAddr};

use indexmap::IndexMap;
use regex::Regex;

use super::activity::Context;
use super::named::Named;
use super::provider::only;
use super::{Failed, service, subject, value};
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::Target;
use crate::experiment::observe::{
    DnsCall, Family, LogCall, LogSource, MetricsCall, Pattern, PrometheusCall, Since,
};
use crate::experiment::service::Supervised;
use crate::experiment::subject::Subject;
use crate::experiment::units::Span;

pub(super) fn log(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<LogCall, Failed> {
    only(document, "log", "pattern, since, node, process, container, socket, path")?;
    let pattern = document.pattern.as_ref();
    let pattern =
        pattern.ok_or_else(|| missing(place, "a log provider", "pattern", "what to look for"))?;
    let compiled = Regex::new(&pattern.value).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        let (what, text, why) = ("regular expression", pattern.value.clone(), why.to_owned());
        (pattern.referenced.into(), Problem::Pattern { what, pattern: text, why })
    })?;
    let since = match &document.since {
        None => Since::Phase,
        Some(word) => {
            value::word(word, "a beginning", &[("phase", Since::Phase), ("run", Since::Run)])?
        }
    };
    let exclusive = |at: &Text, one, other| {
        Err((Place::from(at.referenced), Problem::Exclusive { one, other }))
    };
    let container = match (service::service(document)?, named(document)) {
        (None, false) if document.path.is_none() => service::of_target(context),
        (service, _) => service,
    };
    let source = match (&document.path, &document.container, container) {
        (Some(path), Some(_), _) => return exclusive(path, "path", "container"),
        (Some(path), None, _) if named(document) => return exclusive(path, "path", "process"),
        (Some(path), None, _) => LogSource::Path(path.value.clone()),
        (None, Some(container), _) if named(document) => {
            return exclusive(container, "container", "process");
        }
        (None, _, Some(Supervised::Container { name, socket })) => {
            LogSource::Container { name, socket }
        }
        (None, ..) => {
            LogSource::Process(process(context, document, place, "a log provider without `path`")?)
        }
    };
    Ok(LogCall { source, pattern: Pattern(compiled), since })
}

pub(super) fn procfs(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<Subject, Failed> {
    only(document, "procfs", "node, process, unit, container, socket, pid-file")?;
    subject::subject(context, document, place, "a procfs provider")
}

pub(super) fn metrics(
    document: &ProviderDocument,
    place: Place,
    timeout: Span,
) -> Result<MetricsCall, Failed> {
    only(document, "metrics", "url, metric, labels, timeout")?;
    let what = "a metrics provider";
    let url = document.url.as_ref();
    let url = url.ok_or_else(|| missing(place, what, "url", "the page to read"))?;
    let metric = document.metric.as_ref();
    let metric = metric.ok_or_else(|| missing(place, what, "metric", "the metric's name"))?;
    let labels = document.labels.as_ref();
    Ok(MetricsCall {
        url: url.value.clone(),
        metric: metric.value.clone(),
        labels: labels.map_or_else(IndexMap::new, |labels| labels.value.clone()),
        timeout,
    })
}

pub(super) fn prometheus(
    document: &ProviderDocument,
    place: Place,
    timeout: Span,
) -> Result<PrometheusCall, Failed> {
    only(document, "prometheus", "url, query, timeout")?;
    let what = "a prometheus provider";
    let url = document.url.as_ref();
    let url = url.ok_or_else(|| missing(place, what, "url", "the Prometheus server"))?;
    let query = document.query.as_ref();
    let query = query.ok_or_else(|| missing(place, what, "query", "the query in PromQL"))?;
    Ok(PrometheusCall { url: url.value.clone(), query: query.value.clone(), timeout })
}

pub(super) fn dns(
    document: &ProviderDocument,
    place: Place,
    timeout: Span,
) -> Result<DnsCall, Failed> {
    only(document, "dns", "name, server, family, timeout")?;
    let name = document.name.as_ref();
    let name =
        name.ok_or_else(|| missing(place, "a dns provider", "name", "the name to resolve"))?;
    let server = document.server.as_ref();
    if let Some(server) = server
        && !server.value.contains('$')
        && server.value.parse::<IpAddr>().is_err()
        && server.value.parse::<SocketAddr>().is_err()
    {
        let wanted = "an address, or an address and a port such as `10.0.0.2:53`";
        let given = server.value.clone();
        return Err((server.referenced.into(), Problem::Value { what: "`server`", wanted, given }));
    }
    let family = match &document.family {
        None => Family::V4,
        Some(word) => {
            value::word(word, "a kind of address", &[("ipv4", Family::V4), ("ipv6", Family::V6)])?
        }
    };
    let server = server.map(|server| server.value.clone());
    Ok(DnsCall { name: name.value.clone(), server, family, timeout })
}

fn named(document: &ProviderDocument) -> bool {
    document.node.is_some() || document.process.is_some()
}

/// A process of the lab: the one that is named, or the experiment's target.
pub(super) fn process<'a>(
    context: &Context<'_>,
    named: impl Into<Named<'a>>,
    place: Place,
    what: &str,
) -> Result<Target, Failed> {
    let named = named.into();
    let text = |one: Option<&Text>| one.map(|text| text.value.clone());
    let need = "here or as a key of `target`";
    let node = text(named.node).or_else(|| context.target.node.clone());
    let node = node.ok_or_else(|| missing(place, what, "node", need))?;
    let process = text(named.process).or_else(|| context.target.process.clone());
    let process = process.ok_or_else(|| missing(place, what, "process", need))?;
    if !context.in_lab {
        return Err((place, Problem::NoLab { what: what.to_owned() }));
    }
    Ok(Target { node, process })
}

fn missing(place: Place, what: &str, key: &'static str, purpose: &'static str) -> Failed {
    (place, Problem::Missing { what: what.to_owned(), key, purpose })
}
