//! Workloads.

use indexmap::IndexMap;
use serde_json::Value;
use serde_json_path::JsonPath;
use serde_saphyr::Spanned;

use super::activity::Context;
use super::{Failed, subject, tolerance};
use crate::experiment::activity::Activity;
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::{FaultSpec, FaultWork};
use crate::experiment::operations::{Operations, Within};
use crate::experiment::provider::Provider;
use crate::experiment::units::{Bytes, Span, nearest};
use crate::experiment::workload::{Pace, Payloads, SavedPath, Step, WorkloadSpec};
use crate::experiment::workload_document::{StepDocument, WorkloadDocument};

/// A workload of released users without a duration of its own is called off after this long.
const PATIENCE: Span = Span::from_secs(60);
/// A request without a time-out of its own ends after this long.
const TIMEOUT: Span = Span::from_secs(10);
/// More clients than this say more about the machine they run on.
const MOST_USERS: u32 = 10_000;

pub(super) const KEYS: &str = "workload, duration, seed";

/// The workload of a `chaos` provider.
pub(super) fn workload(
    context: &Context<'_>,
    provider: &ProviderDocument,
    written: &Spanned<WorkloadDocument>,
    from: Option<&Text>,
) -> Result<FaultSpec, Failed> {
    let place = Place::from(written.referenced);
    let document = &written.value;
    let pace = pace(document, place)?;
    let duration = match (&provider.duration, pace) {
        (Some(duration), _) if duration.value > Span::ZERO => duration.value,
        (None, Pace::Together { .. }) => PATIENCE,
        _ => return Err(missing(place, "the workload", "duration", "how long it goes on")),
    };
    if document.requests.is_empty() {
        return Err(missing(place, "the workload", "requests", "a list of what is sent"));
    }
    let turns = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        only => vec![only.clone()],
    };
    let vary: IndexMap<String, Vec<Value>> =
        document.vary.iter().map(|(name, value)| (name.clone(), turns(value))).collect();
    if let Some((name, _)) = vary.iter().find(|(_, values)| values.is_empty()) {
        let given = format!("an empty list for `{name}`");
        let wanted = "values that users take turns with";
        return Err((place, Problem::Value { what: "`vary`", wanted, given }));
    }
    let steps = |steps: &[Spanned<StepDocument>], measured| {
        steps.iter().map(|one| step(one, measured)).collect::<Result<Vec<_>, _>>()
    };
    let verify = steps(&document.verify, false)?;
    if let Some(at) = verify.iter().position(|step| step.tolerance.is_none()) {
        let place = document.verify[at].referenced.into();
        return Err(missing(place, "a step of `verify`", "tolerance", "what is expected then"));
    }
    let watch = document.watch.as_ref();
    let watch =
        watch.map(|watch| subject::subject(context, watch, place, "`watch`")).transpose()?;
    let evidence = match &document.evidence {
        None => None,
        Some(written) if written.value.save.is_empty() => {
            let purpose = "the JSONPath of a number: what was made to happen";
            return Err(missing(written.referenced.into(), "`evidence`", "save", purpose));
        }
        Some(written) => Some(Box::new(step(written, false)?)),
    };
    let spec = WorkloadSpec {
        from: from.map(|from| from.value.clone()),
        pace,
        after: document.after.as_ref().map(|after| after.value.clone()),
        lasts: duration,
        vary,
        prepare: steps(&document.prepare, false)?,
        requests: steps(&document.requests, true)?,
        verify,
        hits: document.hits.clone(),
        evidence,
        watch,
        beside: false,
    };
    // Requests that were sent last have their time, too.
    let patience = spec.requests.iter().map(|step| step.timeout.nanos()).max().unwrap_or(0);
    let most = match pace {
        Pace::Together { .. } => duration,
        Pace::Open { .. } => Span::from_nanos(duration.nanos().saturating_add(patience)),
    };
    let seed = provider.seed.as_ref().map(|seed| seed.value);
    Ok(FaultSpec { work: FaultWork::Workload(Box::new(spec)), duration: most, seed })
}

/// Workloads are the fault themselves, or, where there is another one, traffic beside it.
pub(super) fn place_beside(method: &mut [Activity]) -> Result<(), Failed> {
    let work = |activity: &Activity| match &activity.provider {
        Provider::Fault(fault) => Some(matches!(fault.work, FaultWork::Workload(_))),
        _ => None,
    };
    let other = method.iter().any(|activity| work(activity) == Some(false));
    let names: Vec<String> = method
        .iter()
        .filter(|activity| work(activity) == Some(false))
        .map(|activity| activity.name.clone())
        .collect();
    for activity in method {
        if let Provider::Fault(FaultSpec { work: FaultWork::Workload(spec), .. }) =
            &mut activity.provider
        {
            spec.beside = other;
            if let Some(after) = &spec.after
                && !names.contains(after)
            {
                let nearest = nearest(after, names.iter().map(String::as_str));
                let nearest = nearest.map(ToOwned::to_owned);
                let problem = Problem::UnknownReference { name: after.clone(), nearest };
                return Err((activity.place, problem));
            }
        }
    }
    Ok(())
}

fn missing(place: Place, what: &str, key: &'static str, purpose: &'static str) -> Failed {
    (place, Problem::Missing { what: what.to_owned(), key, purpose })
}

fn pace(document: &WorkloadDocument, place: Place) -> Result<Pace, Failed> {
    let number = |given: &Option<Spanned<u32>>, what| match given {
        None => Ok(1),
        Some(given) if (1..=MOST_USERS).contains(&given.value) => Ok(given.value),
        Some(given) => {
            let (wanted, given_text) = ("from 1 to 10000", given.value.to_string());
            Err((given.referenced.into(), Problem::Value { what, wanted, given: given_text }))
        }
    };
    match (&document.users, &document.rate) {
        (Some(_), Some(rate)) => {
            Err((rate.referenced.into(), Problem::Exclusive { one: "users", other: "rate" }))
        }
        (None, None) => Err(missing(place, "the workload", "users", "or `rate`: when it sends")),
        (Some(_), None) => Ok(Pace::Together {
            groups: number(&document.groups, "`groups`")?,
            users: number(&document.users, "`users`")?,
            rounds: number(&document.rounds, "`rounds`")?,
        }),
        (None, Some(rate)) if (0.01..=100_000.0).contains(&rate.value) => {
            let misplaced = document.groups.as_ref().or(document.rounds.as_ref());
            match misplaced {
                None => Ok(Pace::Open { rate: rate.value }),
                Some(given) => {
                    let why = "`groups` and `rounds` belong to `users`, not to `rate`";
                    Err((given.referenced.into(), Problem::Pointless(why)))
                }
            }
        }
        (None, Some(rate)) => {
            let wanted = "requests per second, from 0.01 to 100000";
            let given = rate.value.to_string();
            Err((rate.referenced.into(), Problem::Value { what: "`rate`", wanted, given }))
        }
    }
}

fn step(written: &Spanned<StepDocument>, measured: bool) -> Result<Step, Failed> {
    let place = Place::from(written.referenced);
    let document = &written.value;
    let url = document.url.as_ref();
    let url = url.ok_or_else(|| missing(place, "a request", "url", "where it goes"))?;
    if document.body.is_some() && document.size.is_some() {
        return Err((place, Problem::Exclusive { one: "body", other: "size" }));
    }
    if !measured && document.payloads.is_some() {
        let why = "`payloads` belong to `requests`";
        return Err((place, Problem::Pointless(why)));
    }
    let mut save = IndexMap::new();
    for (name, path) in &document.save {
        let parsed = JsonPath::parse(path.value.trim()).map_err(|error| {
            let (what, pattern) = ("JSONPath", path.value.clone());
            (path.referenced.into(), Problem::Pattern { what, pattern, why: error.to_string() })
        })?;
        save.insert(name.clone(), SavedPath { text: path.value.clone(), path: parsed });
    }
    let tolerance = match &document.tolerance {
        None => None,
        Some(given) => Some(tolerance::tolerance(&given.value, given.referenced.into())?),
    };
    let method = document.method.as_deref().unwrap_or(match (&document.body, &document.size) {
        (None, None) => "GET",
        _ => "POST",
    });
    let method = method.to_uppercase();
    Ok(Step {
        name: document
            .name
            .as_ref()
            .map_or_else(|| format!("{method} {}", url.value), |name| name.value.clone()),
        method,
        url: url.value.clone(),
        headers: document.headers.clone(),
        body: document.body.as_ref().map(|body| body.value.clone()),
        size: document.size.as_ref().map(size).transpose()?,
        chunked: document.chunked,
        payloads: document.payloads.as_ref().map(|payloads| Payloads {
            count: payloads.count.min(100_000),
            samples: payloads.samples.clone(),
            seed: payloads.seed,
        }),
        retries: document.retries,
        pause: document.pause.unwrap_or_default(),
        timeout: document.timeout.unwrap_or(TIMEOUT),
        save,
        tolerance,
    })
}

fn size(given: &Text) -> Result<u64, Failed> {
    let bytes = given.value.parse::<Bytes>();
    bytes.map(Bytes::get).map_err(|error| (given.referenced.into(), Problem::Unit(error)))
}

/// The tolerance of type `operations`.
pub(super) fn operations(
    map: &serde_json::Map<String, Value>,
    place: Place,
) -> Result<Operations, Failed> {
    const COUNTS: [(&str, &str); 6] = [
        ("sent", "/sent"),
        ("unsent", "/unsent"),
        ("ok", "/ok"),
        ("fail", "/fail"),
        ("info", "/info"),
        ("ok-share", "/ok_share"),
    ];
    const LATENCIES: [(&str, &str); 4] = [
        ("p50", "/latency/p50_ms"),
        ("p95", "/latency/p95_ms"),
        ("p99", "/latency/p99_ms"),
        ("max", "/latency/max_ms"),
    ];
    const MEMORY: [(&str, &str); 2] =
        [("memory-peak", "/memory/peak"), ("memory-left", "/memory/left")];
    let bad = |what, wanted, given: &Value| {
        (place, Problem::Value { what, wanted, given: given.to_string() })
    };
    let bounds = |what, value: &Value| {
        bounds(value).ok_or_else(|| bad(what, "a number, or [lowest, highest]", value))
    };
    let mut all = Operations::default();
    for (key, value) in map.iter().filter(|(key, _)| *key != "type") {
        let of = |known: &[(&'static str, &'static str)]| {
            known.iter().find(|(name, _)| name == key).copied()
        };
        if let Some((name, path)) = of(&COUNTS) {
            all.counts.insert(path, bounds(name, value)?);
        } else if let Some((name, path)) = of(&LATENCIES) {
            let span = value.as_str().and_then(|text| text.parse().ok());
            let span = span.ok_or_else(|| bad(name, "a duration such as `2s`", value))?;
            all.latencies.insert(path, span);
        } else if let Some((name, path)) = of(&MEMORY) {
            let limit = value.as_str().and_then(|text| text.parse().ok()).map(Bytes::get);
            let limit = limit.ok_or_else(|| bad(name, "bytes, such as `16MiB`", value))?;
            all.memory.insert(path, limit);
        } else if key == "ok-per-group" {
            all.ok_per_group = Some(bounds("`ok-per-group`", value)?);
        } else if key == "statuses" {
            let wanted = "statuses and how often each may come";
            let map = value.as_object().ok_or_else(|| bad("`statuses`", wanted, value))?;
            for (code, count) in map {
                let code = code.parse().map_err(|_| bad("`statuses`", wanted, value))?;
                all.statuses.push((code, bounds("`statuses`", count)?));
            }
        } else if key == "only" {
            let codes = value.as_array().and_then(|codes| {
                codes.iter().map(|code| u16::try_from(code.as_u64()?).ok()).collect()
            });
            all.only = Some(codes.ok_or_else(|| bad("`only`", "a list of statuses", value))?);
        } else {
            let known = COUNTS.iter().chain(&LATENCIES).chain(&MEMORY).map(|(name, _)| *name);
            let known: Vec<&str> = known.chain(["ok-per-group", "statuses", "only"]).collect();
            let nearest = nearest(key, known.iter().copied());
            let nearest = nearest.map(ToOwned::to_owned);
            let known = known.iter().map(ToString::to_string).collect();
            return Err((place, Problem::UnknownKey { key: key.clone(), nearest, known }));
        }
    }
    Ok(all)
}

fn bounds(value: &Value) -> Option<Within> {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [low, high] => {
                let high = if high.is_null() { f64::INFINITY } else { high.as_f64()? };
                let low = low.as_f64()?;
                (low <= high).then_some(Within { low, high })
            }
            _ => None,
        },
        number => number.as_f64().map(Within::exactly),
    }
}
