//! `fault: delay`, `rate` and `reorder`: packets of chosen flows are held.

use std::num::NonZeroU16;

use super::{Failed, netem, value};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::DetourSpec;
use crate::experiment::units::Span;
use crate::fault::{Backend, DetourError, Detours, LineOptions};
use crate::plan::{Bottleneck, Impairment, Overtake, Police, RuleError};

pub(super) const DELAY: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                                local-ports, remote-ports, flows, connections, seed, latency, \
                                jitter, correlation, distribution, table, limit, keep-order, \
                                backend, ramp, per-packet, threads, spin, priority";
pub(super) const RATE: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                               local-ports, remote-ports, flows, connections, seed, rate, queue, \
                               police, burst, backend, ramp, per-packet, threads, spin, priority";
pub(super) const REORDER: &str = "fault, duration, node, direction, devices, protocol, local, \
                                  remote, local-ports, remote-ports, flows, connections, seed, \
                                  reorder, gap, correlation, latency, backend, ramp, \
                                  per-packet, threads, spin, priority";

/// Packets that may wait before a slow link unless the file says otherwise.
const QUEUE: u32 = 1000;

pub(super) fn delay(document: &ProviderDocument, place: Place) -> Result<DetourSpec, Failed> {
    let spans = |written: &Option<serde_saphyr::Spanned<Span>>| written.as_ref().map(|s| s.value);
    let share = |written: &Option<serde_saphyr::Spanned<_>>| written.as_ref().map(|s| s.value);
    if document.jitter.is_none() {
        let needs_jitter = [
            ("distribution", document.distribution.as_ref().map(|one| one.referenced)),
            ("table", document.table.as_ref().map(|one| one.referenced)),
            ("correlation", document.correlation.as_ref().map(|one| one.referenced)),
            ("keep-order", document.keep_order.as_ref().map(|one| one.referenced)),
        ];
        for (key, at) in needs_jitter {
            if let Some(at) = at {
                let (what, purpose) = (format!("`{key}`"), "how far delays stray, such as `50ms`");
                return Err((at.into(), Problem::Missing { what, key: "jitter", purpose }));
            }
        }
    }
    let impairment = Impairment {
        latency: latency(document, "delay", place)?,
        jitter: spans(&document.jitter).unwrap_or_default(),
        distribution: netem::distribution(document)?,
        correlation: share(&document.correlation).unwrap_or_default(),
        limit: document.limit.as_ref().map(|limit| at_least_one(limit, "`limit`")).transpose()?,
        keep_order: document.keep_order.as_ref().is_some_and(|keep| keep.value),
        ..Impairment::default()
    };
    spec(document, impairment, place)
}

pub(super) fn rate(document: &ProviderDocument, place: Place) -> Result<DetourSpec, Failed> {
    let Some(rate) = &document.rate else {
        return Err(missing("rate", "rate", "such as `10mbit`", place));
    };
    let queue = document.queue.as_ref().map(|queue| at_least_one(queue, "`queue`")).transpose()?;
    let queue = queue.unwrap_or(QUEUE);
    let bottleneck = Some(Bottleneck { rate: rate.value, queue });
    spec(document, Impairment { bottleneck, ..Impairment::default() }, place)
}

/// `police: true`: what exceeds the rate is lost instead of waiting for it.
pub(super) fn police(document: &ProviderDocument, place: Place) -> Result<Option<Police>, Failed> {
    let polices = document.police.as_ref().is_some_and(|police| police.value);
    if !polices {
        return match &document.burst {
            None => Ok(None),
            Some(burst) => {
                let (what, purpose) = ("`burst`".into(), "`true`");
                let problem = Problem::Missing { what, key: "police", purpose };
                Err((burst.referenced.into(), problem))
            }
        };
    }
    let Some(rate) = &document.rate else {
        return Err(missing("rate", "rate", "such as `10mbit`", place));
    };
    let holding = [
        ("queue", document.queue.as_ref().map(|one| one.referenced)),
        ("backend", document.backend.as_ref().map(|one| one.referenced)),
        ("per-packet", document.per_packet.as_ref().map(|one| one.referenced)),
        ("threads", document.threads.as_ref().map(|one| one.referenced)),
        ("spin", document.spin.as_ref().map(|one| one.referenced)),
        ("priority", document.priority.as_ref().map(|one| one.referenced)),
    ];
    for (one, at) in holding {
        if let Some(at) = at {
            return Err((at.into(), Problem::Exclusive { one, other: "police" }));
        }
    }
    let burst = document.burst.as_ref();
    let bytes = burst.map_or_else(|| Police::default_burst(rate.value), |burst| burst.value.get());
    let police = Police { rate: rate.value, burst: bytes };
    if let Err(error) = police.check(&|| "rate".to_owned()) {
        // Only the rate is wrong where there is no burst.
        let at = match (&error, burst) {
            (RuleError::BurstTooSmall { .. }, Some(burst)) => burst.referenced,
            _ => rate.referenced,
        };
        return Err((at.into(), Problem::Refused(error.to_string())));
    }
    Ok(Some(police))
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
        gap: document.gap.as_ref().map_or(Ok(1), |gap| at_least_one(gap, "`gap`"))?,
    });
    let latency = latency(document, "reorder", place)?;
    spec(document, Impairment { latency, overtake, ..Impairment::default() }, place)
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

fn spec(
    document: &ProviderDocument,
    impairment: Impairment,
    place: Place,
) -> Result<DetourSpec, Failed> {
    let backends =
        [("auto", Backend::Auto), ("netem", Backend::Netem), ("delay-line", Backend::DelayLine)];
    let backend = match &document.backend {
        Some(word) => value::word(word, "a backend", &backends)?,
        None => Backend::Auto,
    };
    let line = line(document)?;
    // What auto comes to depends on the host; what the delay line can do, auto can do anywhere.
    let rules = vec![(0, impairment.clone())];
    let detours = Detours { backend, rules, line };
    if let Err(error) = detours.choose(false) {
        let keys = [document.latency.as_ref(), document.jitter.as_ref()].into_iter().flatten();
        let longest = keys.max_by_key(|key| key.value).map(|key| key.referenced.into());
        let at = document.backend.as_ref().map(|word| word.referenced.into());
        let at = match error {
            DetourError::OnlyLine(_) => at.or(longest),
            _ => longest.or(at),
        };
        return Err((at.unwrap_or(place), Problem::Refused(error.to_string())));
    }
    Ok(DetourSpec { impairment, backend, line: detours.line })
}

fn line(document: &ProviderDocument) -> Result<LineOptions, Failed> {
    let threads = match &document.threads {
        None => None,
        Some(written) => {
            let known = (1..=LineOptions::THREADS).contains(&written.value);
            let refused = || refused(written, "`threads`", "1 to 16");
            Some(NonZeroU16::new(written.value).filter(|_| known).ok_or_else(refused)?)
        }
    };
    if let Some(spin) = document.spin.as_ref().filter(|spin| spin.value > LineOptions::SPIN) {
        return Err(refused(spin, "`spin`", "at most 1ms"));
    }
    let priority = document.priority.as_ref();
    if let Some(priority) = priority.filter(|one| one.value > LineOptions::PRIORITY) {
        return Err(refused(priority, "`priority`", "0 to 99"));
    }
    Ok(LineOptions {
        per_packet: document.per_packet.as_ref().is_some_and(|each| each.value),
        threads,
        spin: document.spin.as_ref().map(|spin| spin.value),
        priority: priority.map(|priority| priority.value),
    })
}

fn refused(
    written: &serde_saphyr::Spanned<impl ToString>,
    what: &'static str,
    wanted: &'static str,
) -> Failed {
    let given = written.value.to_string();
    (written.referenced.into(), Problem::Value { what, wanted, given })
}

/// A number of packets of which there has to be one.
fn at_least_one(written: &serde_saphyr::Spanned<u32>, what: &'static str) -> Result<u32, Failed> {
    match written.value {
        0 => Err(refused(written, what, "at least 1")),
        count => Ok(count),
    }
}
