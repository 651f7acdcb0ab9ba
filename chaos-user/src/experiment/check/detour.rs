//! `fault: delay`, `rate` and `reorder`: packets of chosen flows are held.

use super::netem::DISTRIBUTIONS;
use super::{Failed, value};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::DetourSpec;
use crate::experiment::units::Span;
use crate::fault::Backend;
use crate::plan::{Bottleneck, Impairment, Overtake};

pub(super) const DELAY: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                                local-ports, remote-ports, flows, connections, seed, latency, \
                                jitter, correlation, distribution, limit, backend, ramp";
pub(super) const RATE: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                               local-ports, remote-ports, flows, connections, seed, rate, queue, \
                               backend, ramp";
pub(super) const REORDER: &str = "fault, duration, node, direction, devices, protocol, local, \
                                  remote, local-ports, remote-ports, flows, connections, seed, \
                                  reorder, gap, correlation, latency, backend, ramp";

/// Packets that may wait before a slow link unless the file says otherwise.
const QUEUE: u32 = 1000;

pub(super) fn delay(document: &ProviderDocument, place: Place) -> Result<DetourSpec, Failed> {
    let spans = |written: &Option<serde_saphyr::Spanned<Span>>| written.as_ref().map(|s| s.value);
    let share = |written: &Option<serde_saphyr::Spanned<_>>| written.as_ref().map(|s| s.value);
    let impairment = Impairment {
        latency: latency(document, "delay", place)?,
        jitter: spans(&document.jitter).unwrap_or_default(),
        distribution: match &document.distribution {
            Some(word) => value::word(word, "a distribution", &DISTRIBUTIONS)?(),
            None => crate::kernel::netlink::qdisc::Distribution::Uniform,
        },
        correlation: share(&document.correlation).unwrap_or_default(),
        limit: document.limit.as_ref().map(|limit| limit.value),
        ..Impairment::default()
    };
    spec(document, impairment)
}

pub(super) fn rate(document: &ProviderDocument, place: Place) -> Result<DetourSpec, Failed> {
    let Some(rate) = &document.rate else {
        return Err(missing("rate", "rate", "such as `10mbit`", place));
    };
    let queue = document.queue.as_ref().map_or(QUEUE, |queue| queue.value.max(1));
    let bottleneck = Some(Bottleneck { rate: rate.value, queue });
    spec(document, Impairment { bottleneck, ..Impairment::default() })
}

pub(super) fn reorder(document: &ProviderDocument, place: Place) -> Result<DetourSpec, Failed> {
    let share = document.reorder.as_ref().map(|share| share.value);
    let Some(share) = share.filter(|share| share.ppb() > 0) else {
        return Err(missing(
            "reorder",
            "reorder",
            "the share that overtakes, such as `25%`",
            place,
        ));
    };
    let overtake = Some(Overtake {
        share,
        correlation: document.correlation.as_ref().map(|share| share.value).unwrap_or_default(),
        gap: document.gap.as_ref().map_or(1, |gap| gap.value.max(1)),
    });
    let latency = latency(document, "reorder", place)?;
    spec(document, Impairment { latency, overtake, ..Impairment::default() })
}

fn latency(document: &ProviderDocument, fault: &str, place: Place) -> Result<Span, Failed> {
    let latency = document.latency.as_ref().map(|latency| latency.value);
    latency
        .filter(|latency| *latency > Span::ZERO)
        .ok_or_else(|| missing(fault, "latency", "such as `500ms`", place))
}

fn missing(fault: &str, key: &'static str, purpose: &'static str, place: Place) -> Failed {
    (place, Problem::Missing { what: format!("the fault `{fault}`"), key, purpose })
}

fn spec(document: &ProviderDocument, impairment: Impairment) -> Result<DetourSpec, Failed> {
    let backends =
        [("auto", Backend::Auto), ("netem", Backend::Netem), ("delay-line", Backend::DelayLine)];
    let backend = match &document.backend {
        Some(word) => value::word(word, "a backend", &backends)?,
        None => Backend::Auto,
    };
    let ramp = document.ramp.as_ref().map_or(Span::ZERO, |ramp| ramp.value);
    Ok(DetourSpec { impairment, backend, ramp })
}
