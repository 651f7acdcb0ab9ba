//! Faults.

use chaos_common::rule::action::MAX_COPIES;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::activity::Context;
use super::provider::only;
use super::{Failed, detour, disk, disk_error, netem, pressure, service, subject, value};
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::{Behavior, FaultSpec, FaultWork, NetworkSpec, ProcessAct, Target};
use crate::experiment::service::Supervised;
use crate::experiment::units::{Direction, Prefix, Span};
use crate::plan::{Checksum, Connections, Corrupt, Duplicate, Loss, growth};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Partition,
    Drop,
    Reject,
    Duplicate,
    Corrupt,
    Delay,
    Rate,
    Reorder,
    Netem,
    Process(ProcessAct),
    DiskFill,
    Descriptors,
    DiskError,
    Cpu,
    Memory,
    Io,
}

const WORDS: [(&str, Word); 20] = [
    ("partition", Word::Partition),
    ("drop", Word::Drop),
    ("reject", Word::Reject),
    ("duplicate", Word::Duplicate),
    ("corrupt", Word::Corrupt),
    ("delay", Word::Delay),
    ("rate", Word::Rate),
    ("reorder", Word::Reorder),
    ("netem", Word::Netem),
    ("stop", Word::Process(ProcessAct::Stop)),
    ("kill", Word::Process(ProcessAct::Kill)),
    ("pause", Word::Process(ProcessAct::Pause)),
    ("restart", Word::Process(ProcessAct::Restart)),
    ("start", Word::Process(ProcessAct::Start)),
    ("disk-fill", Word::DiskFill),
    ("fd-exhaustion", Word::Descriptors),
    ("disk-error", Word::DiskError),
    ("cpu-pressure", Word::Cpu),
    ("memory-pressure", Word::Memory),
    ("io-pressure", Word::Io),
];

const PARTITION: &str = "fault, duration, between, behavior, direction, protocol, local-ports, \
                         remote-ports, flows, connections, seed";
const SELECT: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                      local-ports, remote-ports, flows, connections, seed";
const DROP: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                    local-ports, remote-ports, flows, connections, seed, loss, exact, ramp";
const DUPLICATE: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                         local-ports, remote-ports, flows, connections, seed, share, exact, copies, \
                         ramp";
const CORRUPT: &str = "fault, duration, node, direction, devices, protocol, local, remote, \
                       local-ports, remote-ports, flows, connections, seed, share, exact, \
                       checksum, ramp";
const PROCESS: &str = "fault, duration, node, process, unit, container, socket";

pub(super) fn fault(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<FaultSpec, Failed> {
    let missing = |what: &str, key, purpose| {
        (place, Problem::Missing { what: what.to_owned(), key, purpose })
    };
    let word = document.fault.as_ref();
    let word = word.ok_or_else(|| missing("a chaos provider", "fault", "such as `partition`"))?;
    let name = format!("the fault `{}`", word.value);
    let kind = value::word(word, "a fault", &WORDS)?;
    let known = match kind {
        Word::Partition => PARTITION,
        Word::Drop => DROP,
        Word::Reject => SELECT,
        Word::Duplicate => DUPLICATE,
        Word::Corrupt => CORRUPT,
        Word::Delay => detour::DELAY,
        Word::Rate => detour::RATE,
        Word::Reorder => detour::REORDER,
        Word::Netem => netem::KEYS,
        Word::Process(_) => PROCESS,
        Word::DiskFill => disk::KEYS,
        Word::Descriptors => subject::DESCRIPTORS,
        Word::DiskError => disk_error::KEYS,
        Word::Cpu => pressure::CPU,
        Word::Memory => pressure::MEMORY,
        Word::Io => pressure::IO,
    };
    only(document, &word.value, known)?;
    let duration = match (&document.duration, kind) {
        (Some(duration), Word::Process(ProcessAct::Start)) => {
            let why = "what `start` starts goes on running, so it has no duration";
            return Err((duration.referenced.into(), Problem::Pointless(why)));
        }
        (Some(duration), _) if duration.value > Span::ZERO => duration.value,
        // It is over as soon as it is done.
        (None, Word::Process(ProcessAct::Restart | ProcessAct::Start)) => Span::ZERO,
        _ => {
            return Err(missing(&name, "duration", "more than 0, such as `5s`: it ends by itself"));
        }
    };
    let work = match kind {
        Word::Process(act) => {
            let of_lab = document.node.as_ref().or(document.process.as_ref());
            let service = match (service::service(document)?, of_lab) {
                (Some(service), Some(of_lab)) => {
                    let one = match service {
                        Supervised::Unit { .. } => "unit",
                        Supervised::Container { .. } => "container",
                    };
                    let problem = Problem::Exclusive { one, other: "process" };
                    return Err((of_lab.referenced.into(), problem));
                }
                (Some(service), None) => Some(service),
                (None, Some(_)) => None,
                (None, None) => service::of_target(context),
            };
            if let Some(service) = service {
                let seed = document.seed.as_ref().map(|seed| seed.value);
                return Ok(FaultSpec { work: FaultWork::Service(service, act), duration, seed });
            }
            let node = document.node.as_ref().map(|node| node.value.clone());
            let process = document.process.as_ref().map(|process| process.value.clone());
            let node = node.or_else(|| context.target.node.clone());
            let process = process.or_else(|| context.target.process.clone());
            let need = "here or as a key of `target`";
            let node = node.ok_or_else(|| missing(&name, "node", need))?;
            let process = process.ok_or_else(|| missing(&name, "process", need))?;
            if !context.in_lab {
                return Err((place, Problem::NoLab { what: name }));
            }
            FaultWork::Process(Target { node, process }, act)
        }
        Word::DiskFill => FaultWork::DiskFill(disk::disk_fill(context, document, place)?),
        Word::Descriptors => {
            FaultWork::Descriptors(subject::descriptors(context, document, place)?)
        }
        Word::DiskError => FaultWork::DiskError(disk_error::disk_error(context, document, place)?),
        Word::Cpu => FaultWork::Pressure(pressure::cpu(context, document, place)?),
        Word::Memory => FaultWork::Pressure(pressure::memory(context, document, place)?),
        Word::Io => FaultWork::Pressure(pressure::io(context, document, place)?),
        Word::Netem => FaultWork::Netem(Box::new(netem::netem(context, document, place)?)),
        _ => FaultWork::Network(network(context, document, kind, &name, place)?),
    };
    Ok(FaultSpec { work, duration, seed: document.seed.as_ref().map(|seed| seed.value) })
}

fn network(
    context: &Context<'_>,
    document: &ProviderDocument,
    kind: Word,
    name: &str,
    place: Place,
) -> Result<NetworkSpec, Failed> {
    let (mut nodes, mut remote_nodes, mut remote) = (Vec::new(), Vec::new(), Vec::new());
    if kind == Word::Partition {
        (nodes, remote_nodes) = sides(document, name, place)?;
    }
    nodes.extend(document.node.as_ref().map(|node| node.value.clone()));
    for text in document.remote.iter().flat_map(|remote| &remote.value) {
        match text.value.parse::<Prefix>() {
            Ok(prefix) => remote.push(prefix),
            // Anything that looks like a name is one of a node, to be checked against the lab.
            Err(_) if context.has_nodes && text.value.chars().all(is_label) => {
                remote_nodes.push(text.value.clone());
            }
            Err(error) => return Err((text.referenced.into(), error.into())),
        }
    }
    let names_nodes = !nodes.is_empty() || !remote_nodes.is_empty();
    if names_nodes && !context.has_nodes {
        return Err((place, Problem::NoLab { what: name.to_owned() }));
    }
    let directions = [("to", Direction::To), ("from", Direction::From), ("both", Direction::Both)];
    let ages = [("new", Connections::New), ("established", Connections::Established)];
    let list =
        |ports: &Option<Spanned<Vec<_>>>| ports.as_ref().map_or_else(Vec::new, |p| p.value.clone());
    let police = if kind == Word::Rate { detour::police(document, place)? } else { None };
    Ok(NetworkSpec {
        nodes,
        remote_nodes,
        behavior: match kind {
            Word::Duplicate | Word::Corrupt => changed(document, kind, place)?,
            _ => {
                police.map_or_else(|| behavior(document, kind), |one| Ok(Behavior::Police(one)))?
            }
        },
        detour: match kind {
            Word::Delay => Some(Box::new(detour::delay(document, place)?)),
            Word::Rate if police.is_none() => Some(Box::new(detour::rate(document, place)?)),
            Word::Reorder => Some(Box::new(detour::reorder(document, place)?)),
            _ => None,
        },
        direction: match &document.direction {
            Some(word) => value::word(word, "a direction", &directions)?,
            None => Direction::Both,
        },
        devices: document.devices.as_ref().map_or_else(Vec::new, |devices| devices.value.clone()),
        protocol: document.protocol.as_ref().map(|protocol| protocol.value),
        local: prefixes(document.local.as_ref())?,
        local_ports: list(&document.local_ports),
        remote,
        remote_ports: list(&document.remote_ports),
        ramp: ramp(document)?,
        flows: document.flows.as_ref().map(|flows| flows.value),
        connections: match &document.connections {
            Some(word) => Some(value::word(word, "an age of connections", &ages)?),
            None => None,
        },
    })
}

/// How long the fault grows.
pub(super) fn ramp(document: &ProviderDocument) -> Result<Span, Failed> {
    let Some(ramp) = &document.ramp else { return Ok(Span::ZERO) };
    let lasts = document.duration.as_ref().map_or(Span::ZERO, |duration| duration.value);
    growth::within(ramp.value, lasts)
        .map_err(|error| (ramp.referenced.into(), Problem::Refused(error.to_string())))
}

pub(super) fn is_label(c: char) -> bool {
    c.is_ascii_alphanumeric() && !c.is_ascii_uppercase() || c == '-'
}

fn prefixes(written: Option<&Spanned<Vec<Text>>>) -> Result<Vec<Prefix>, Failed> {
    let texts = written.iter().flat_map(|written| &written.value);
    texts
        .map(|text| {
            text.value.parse().map_err(|error| (text.referenced.into(), Problem::Unit(error)))
        })
        .collect()
}

fn behavior(document: &ProviderDocument, kind: Word) -> Result<Behavior, Failed> {
    if let (Some(_), Some(exact)) = (&document.loss, &document.exact) {
        let problem = Problem::Exclusive { one: "loss", other: "exact" };
        return Err((exact.referenced.into(), problem));
    }
    let loss = match (&document.loss, &document.exact) {
        (Some(loss), _) => Loss::Random(loss.value),
        (_, Some(exact)) => Loss::Exact(exact.value),
        _ => Loss::Always,
    };
    let words = [("drop", Behavior::Drop(Loss::Always)), ("reject", Behavior::Reject)];
    match (&document.behavior, kind) {
        (Some(word), _) => value::word(word, "a behavior", &words),
        (None, Word::Reject) => Ok(Behavior::Reject),
        (None, _) => Ok(Behavior::Drop(loss)),
    }
}

/// What arrives, but not as it was sent.
fn changed(document: &ProviderDocument, kind: Word, place: Place) -> Result<Behavior, Failed> {
    let share = match (&document.share, &document.exact) {
        (Some(_), Some(exact)) => {
            let problem = Problem::Exclusive { one: "share", other: "exact" };
            return Err((exact.referenced.into(), problem));
        }
        (Some(share), None) => Loss::Random(share.value),
        (None, Some(exact)) => Loss::Exact(exact.value),
        (None, None) => Loss::Always,
    };
    if kind == Word::Corrupt {
        let words = [("detected", Checksum::Detected), ("silent", Checksum::Silent)];
        let checksum = match &document.checksum {
            Some(word) => value::word(word, "what becomes of the checksum", &words)?,
            None => Checksum::default(),
        };
        return Ok(Behavior::Corrupt(Corrupt { share, checksum }));
    }
    let (copies, at) = match &document.copies {
        Some(copies) => (copies.value, copies.referenced.into()),
        None => (1, place),
    };
    let most = MAX_COPIES as u8;
    if !(1..=most).contains(&copies) {
        let (wanted, given) = ("a number of copies from 1 to 8", copies.to_string());
        return Err((at, Problem::Value { what: "`copies`", wanted, given }));
    }
    Ok(Behavior::Duplicate(Duplicate { share, copies }))
}

/// `between: [buyer, server]` or `between: [[a, b], [c]]`.
fn sides(
    document: &ProviderDocument,
    name: &str,
    place: Place,
) -> Result<(Vec<String>, Vec<String>), Failed> {
    let Some(between) = &document.between else {
        let purpose = "two nodes or two lists of nodes";
        return Err((place, Problem::Missing { what: name.to_owned(), key: "between", purpose }));
    };
    let wanted = || {
        let given = Value::Array(between.value.clone()).to_string();
        let wanted = "two nodes or two lists of nodes, with no node on both sides";
        (Place::from(between.referenced), Problem::Value { what: "`between`", wanted, given })
    };
    let [one, other] = between.value.as_slice() else { return Err(wanted()) };
    let side = |value: &Value| -> Option<Vec<String>> {
        let names = match value {
            Value::String(name) => vec![name.clone()],
            Value::Array(names) => {
                names.iter().map(|n| n.as_str().map(ToOwned::to_owned)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        (!names.is_empty()).then_some(names)
    };
    let (one, other) = (side(one).ok_or_else(wanted)?, side(other).ok_or_else(wanted)?);
    if one.iter().any(|node| other.contains(node)) {
        return Err(wanted());
    }
    Ok((one, other))
}
