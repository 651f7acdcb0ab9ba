//! `fault: cpu-pressure`, `memory-pressure` and `io-pressure`.

use serde_saphyr::Spanned;

use super::activity::Context;
use super::{Failed, subject};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::pressure::{Confined, PressureSpec};
use crate::experiment::units::Bytes;
use crate::plan::{Cpus, IoMax, MemoryHigh, Pressure};

pub(super) const CPU: &str =
    "fault, duration, cgroup, node, process, unit, container, socket, pid-file, cpus";
pub(super) const MEMORY: &str =
    "fault, duration, cgroup, node, process, unit, container, socket, pid-file, high, level";
pub(super) const IO: &str = "fault, duration, cgroup, node, process, unit, container, socket, \
                             pid-file, path, rbps, wbps, riops, wiops";

pub(super) fn cpu(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<PressureSpec, Failed> {
    let Some(cpus) = &document.cpus else {
        return Err(missing("cpu-pressure", "cpus", "how many it may use, such as `0.2`", place));
    };
    let pressure = Cpus::new(cpus.value).map(Pressure::Cpu).ok_or_else(|| {
        let (wanted, given) = ("a number of CPUs from 0.01 to 4096", cpus.value.to_string());
        (Place::from(cpus.referenced), Problem::Value { what: "`cpus`", wanted, given })
    })?;
    spec(context, document, place, "the fault `cpu-pressure` without `cgroup`", pressure)
}

pub(super) fn memory(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<PressureSpec, Failed> {
    let high = match (&document.high, &document.level) {
        (Some(_), Some(level)) => {
            let problem = Problem::Exclusive { one: "high", other: "level" };
            return Err((level.referenced.into(), problem));
        }
        (Some(high), None) => MemoryHigh::Bytes(not_zero(high, "`high`")?),
        (None, Some(level)) => MemoryHigh::Share(level.value),
        (None, None) => {
            let purpose = "such as `64MiB`, or `level`, such as `80%` of what it has";
            return Err(missing("memory-pressure", "high", purpose, place));
        }
    };
    let what = "the fault `memory-pressure` without `cgroup`";
    spec(context, document, place, what, Pressure::Memory(high))
}

pub(super) fn io(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<PressureSpec, Failed> {
    if document.path.is_none() {
        let purpose = "a file on the disk, or the disk";
        return Err(missing("io-pressure", "path", purpose, place));
    }
    let bytes = |given: &Option<Spanned<Bytes>>, what| {
        given.as_ref().map(|given| not_zero(given, what).map(Bytes::get)).transpose()
    };
    let times = |given: &Option<Spanned<u32>>, what| match given {
        Some(times) if times.value == 0 => {
            let (wanted, given) = ("at least 1 in a second", "0".to_owned());
            Err((Place::from(times.referenced), Problem::Value { what, wanted, given }))
        }
        times => Ok(times.as_ref().map(|times| u64::from(times.value))),
    };
    let limits = IoMax {
        rbps: bytes(&document.rbps, "`rbps`")?,
        wbps: bytes(&document.wbps, "`wbps`")?,
        riops: times(&document.riops, "`riops`")?,
        wiops: times(&document.wiops, "`wiops`")?,
    };
    if limits == IoMax::default() {
        let purpose = "or another of `rbps`, `riops`, `wiops`: how much it may use in a second";
        return Err(missing("io-pressure", "wbps", purpose, place));
    }
    let what = "the fault `io-pressure` without `cgroup`";
    spec(context, document, place, what, Pressure::Io(limits))
}

fn spec(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
    without_cgroup: &str,
    pressure: Pressure,
) -> Result<PressureSpec, Failed> {
    let confined = match &document.cgroup {
        Some(cgroup) => {
            let others = [
                ("unit", &document.unit),
                ("container", &document.container),
                ("pid-file", &document.pid_file),
                ("node", &document.node),
                ("process", &document.process),
                ("socket", &document.socket),
            ];
            if let Some((other, _)) = others.into_iter().find(|(_, given)| given.is_some()) {
                let problem = Problem::Exclusive { one: "cgroup", other };
                return Err((cgroup.referenced.into(), problem));
            }
            Confined::Cgroup(cgroup.value.clone())
        }
        None => Confined::Subject(subject::subject(context, document, place, without_cgroup)?),
    };
    let path = document.path.as_ref().map(|path| path.value.clone());
    Ok(PressureSpec { confined, pressure, path })
}

fn not_zero(given: &Spanned<Bytes>, what: &'static str) -> Result<Bytes, Failed> {
    if given.value.get() == 0 {
        let (wanted, text) = ("more than nothing, such as `1MiB`", given.value.to_string());
        return Err((given.referenced.into(), Problem::Value { what, wanted, given: text }));
    }
    Ok(given.value)
}

fn missing(fault: &str, key: &'static str, purpose: &'static str, place: Place) -> Failed {
    (place, Problem::Missing { what: format!("the fault `{fault}`"), key, purpose })
}
