//! From a lab document to a consistent [`LabSpec`], or to the place of what is wrong.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_saphyr::{Location, Spanned};

use super::document::{
    LabDocument, NetworkDocument, NodeDocument, ProcessDocument, ReadyDocument, RestartDocument,
};
use super::placeholder;
use super::spec::{
    AttachmentSpec, LabSpec, MAX_ATTACHMENTS, MAX_DISK, MAX_NETWORKS, MAX_NODES, MAX_PROCESSES,
    MIN_DISK, NetworkSpec, NodeSpec, ProcessSpec, Ready, Restart,
};
use super::spec_error::{Problem, nearest};
use crate::experiment::Bytes;

type Checked<T> = Result<T, (Location, Problem)>;

/// How long a process may take to become ready when the file does not say.
const READY_WITHIN: Duration = Duration::from_secs(10);

trait Place<T> {
    fn at(self, place: Location) -> Checked<T>;
}

impl<T> Place<T> for Result<T, Problem> {
    fn at(self, place: Location) -> Checked<T> {
        self.map_err(|problem| (place, problem))
    }
}

/// Checks a whole document.
pub(super) fn check(document: &LabDocument) -> Checked<LabSpec> {
    let name = &document.name;
    label("lab", &name.value).at(name.referenced)?;
    at_most("networks", document.networks.len(), MAX_NETWORKS).at(name.referenced)?;
    at_most("nodes", document.nodes.len(), MAX_NODES).at(name.referenced)?;
    if document.nodes.is_empty() {
        return Err((name.referenced, Problem::NoNodes));
    }
    let networks = networks(document)?;
    let known: Vec<String> = document.nodes.keys().map(|name| name.value.clone()).collect();
    let mut nodes = Vec::new();
    for (name, node) in &document.nodes {
        label("node", &name.value).at(name.referenced)?;
        if name.value == "localhost" {
            return Err((name.referenced, Problem::Reserved { name: name.value.clone() }));
        }
        let empty = NodeDocument::default();
        nodes.push(node_spec(name, node.as_ref().unwrap_or(&empty), &networks, &known)?);
    }
    capacity(document, &networks, &nodes)?;
    Ok(LabSpec { name: name.value.clone(), networks, nodes })
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), Problem> {
    if count > most { Err(Problem::TooMany { what, count, most }) } else { Ok(()) }
}

/// Whether a name is a DNS label in lower case.
pub(super) fn label(what: &'static str, name: &str) -> Result<(), Problem> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good { Ok(()) } else { Err(Problem::Label { what, name: name.into() }) }
}

fn networks(document: &LabDocument) -> Checked<Vec<NetworkSpec>> {
    let mut networks: Vec<NetworkSpec> = Vec::new();
    for (at, (name, network)) in document.networks.iter().enumerate() {
        label("network", &name.value).at(name.referenced)?;
        let given = network.clone().unwrap_or_default();
        let (v4, v6) = if given.v4.is_none() && given.v6.is_none() {
            let third = at as u16 + 1;
            let v4 = Ipv4Net::new_assert(Ipv4Addr::new(10, 77, third as u8, 0), 24);
            let v6 = Ipv6Net::new_assert(Ipv6Addr::new(0xfd77, third, 0, 0, 0, 0, 0, 0), 64);
            (Some(v4), Some(v6))
        } else {
            (read(given.v4.as_ref(), prefix_v4)?, read(given.v6.as_ref(), prefix_v6)?)
        };
        let place = |spanned: Option<&Spanned<String>>| {
            spanned.map_or(name.referenced, |spanned| spanned.referenced)
        };
        overlap(v4.map(IpNet::V4), &networks).at(place(given.v4.as_ref()))?;
        overlap(v6.map(IpNet::V6), &networks).at(place(given.v6.as_ref()))?;
        networks.push(NetworkSpec { name: name.value.clone(), v4, v6 });
    }
    Ok(networks)
}

fn read<T>(
    text: Option<&Spanned<String>>,
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> Checked<Option<T>> {
    text.map(|text| parse(&text.value).at(text.referenced)).transpose()
}

fn prefix_v4(text: &str) -> Result<Ipv4Net, Problem> {
    let net: Ipv4Net = text.parse().map_err(|_| Problem::Prefix {
        text: text.into(),
        family: "IPv4",
        example: "10.77.1.0/24",
    })?;
    shape(text, IpNet::V4(net), 8, 30)?;
    Ok(net)
}

fn prefix_v6(text: &str) -> Result<Ipv6Net, Problem> {
    let net: Ipv6Net = text.parse().map_err(|_| Problem::Prefix {
        text: text.into(),
        family: "IPv6",
        example: "fd77:1::/64",
    })?;
    shape(text, IpNet::V6(net), 16, 126)?;
    Ok(net)
}

fn shape(text: &str, net: IpNet, least: u8, most: u8) -> Result<(), Problem> {
    if net.trunc() != net {
        return Err(Problem::HostBits { text: text.into(), instead: net.trunc().to_string() });
    }
    if !(least..=most).contains(&net.prefix_len()) {
        return Err(Problem::PrefixLength { text: text.into(), least, most });
    }
    let special = |kind| Err(Problem::SpecialPrefix { text: text.into(), kind });
    let overlaps = |other: &str| {
        other.parse::<IpNet>().is_ok_and(|other| other.contains(&net) || net.contains(&other))
    };
    if overlaps("127.0.0.0/8") || overlaps("::1/128") {
        return special("loopback");
    }
    if overlaps("224.0.0.0/4") || overlaps("ff00::/8") {
        return special("multicast");
    }
    if overlaps("169.254.0.0/16") || overlaps("fe80::/10") {
        return special("link-local");
    }
    if overlaps("0.0.0.0/8") || overlaps("240.0.0.0/4") || overlaps("::ffff:0:0/96") {
        return special("reserved");
    }
    Ok(())
}

fn overlap(net: Option<IpNet>, others: &[NetworkSpec]) -> Result<(), Problem> {
    let Some(net) = net else { return Ok(()) };
    for other in others {
        for prefix in [other.v4.map(IpNet::V4), other.v6.map(IpNet::V6)].into_iter().flatten() {
            if prefix.contains(&net) || net.contains(&prefix) {
                return Err(Problem::Overlap {
                    text: net.to_string(),
                    other: prefix.to_string(),
                    network: other.name.clone(),
                });
            }
        }
    }
    Ok(())
}

fn node_spec(
    name: &Spanned<String>,
    node: &NodeDocument,
    networks: &[NetworkSpec],
    known: &[String],
) -> Checked<NodeSpec> {
    at_most("networks on one node", node.networks.0.len(), MAX_ATTACHMENTS).at(name.referenced)?;
    at_most("processes on one node", node.processes.len(), MAX_PROCESSES).at(name.referenced)?;
    let mut attachments: Vec<AttachmentSpec> = Vec::new();
    for (network, wished) in &node.networks.0 {
        let attachment = attachment(network, wished, networks)?;
        if attachments.iter().any(|other| other.network == attachment.network) {
            let name = network.value.clone();
            return Err((network.referenced, Problem::Twice { what: "network", name }));
        }
        attachments.push(attachment);
    }
    if node.forward && attachments.len() < 2 {
        return Err((name.referenced, Problem::ForwardsNothing { node: name.value.clone() }));
    }
    let mut spec = NodeSpec {
        name: name.value.clone(),
        attachments,
        forward: node.forward,
        processes: Vec::new(),
    };
    for process in &node.processes {
        if spec.processes.iter().any(|other| other.name == process.name.value) {
            let name = process.name.value.clone();
            return Err((process.name.referenced, Problem::Twice { what: "process", name }));
        }
        let process = process_spec(process, &spec, networks, known)?;
        spec.processes.push(process);
    }
    Ok(spec)
}

fn attachment(
    name: &Spanned<String>,
    wished: &NetworkDocument,
    networks: &[NetworkSpec],
) -> Checked<AttachmentSpec> {
    let Some(network) = networks.iter().position(|network| network.name == name.value) else {
        let known: Vec<String> = networks.iter().map(|network| network.name.clone()).collect();
        let nearest = nearest(&name.value, &known);
        let name_text = name.value.clone();
        return Err((name.referenced, Problem::UnknownNetwork { name: name_text, nearest, known }));
    };
    let spec = &networks[network];
    let outside = |address: IpAddr, prefix: Option<IpNet>| Problem::Outside {
        address: address.to_string(),
        network: spec.name.clone(),
        prefix: prefix.map_or_else(|| "which has no such prefix".into(), |net| net.to_string()),
    };
    let v4 = read(wished.v4.as_ref(), |text| {
        let address: Ipv4Addr =
            text.parse().map_err(|_| Problem::Address { text: text.into(), family: "IPv4" })?;
        let fits = spec.v4.is_some_and(|net| {
            net.contains(&address) && address != net.network() && address != net.broadcast()
        });
        if fits { Ok(address) } else { Err(outside(address.into(), spec.v4.map(IpNet::V4))) }
    })?;
    let v6 = read(wished.v6.as_ref(), |text| {
        let address: Ipv6Addr =
            text.parse().map_err(|_| Problem::Address { text: text.into(), family: "IPv6" })?;
        // The all-zero host part is the routers' anycast address.
        let fits = spec.v6.is_some_and(|net| net.contains(&address) && address != net.network());
        if fits { Ok(address) } else { Err(outside(address.into(), spec.v6.map(IpNet::V6))) }
    })?;
    Ok(AttachmentSpec { network, v4, v6 })
}

fn process_spec(
    process: &ProcessDocument,
    node: &NodeSpec,
    networks: &[NetworkSpec],
    known: &[String],
) -> Checked<ProcessSpec> {
    label("process", &process.name.value).at(process.name.referenced)?;
    if process.command.value.first().is_none_or(|program| program.value.is_empty()) {
        let process_name = process.name.value.clone();
        return Err((process.command.referenced, Problem::EmptyCommand { process: process_name }));
    }
    let text = |text: &Spanned<String>| {
        placeholder::check(&text.value, node, networks).at(text.referenced)?;
        Ok(text.value.clone())
    };
    let command = process.command.value.iter().map(text).collect::<Checked<Vec<String>>>()?;
    let mut env = Vec::new();
    for (name, value) in &process.env {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            return Err((name.referenced, Problem::Variable { name: name.value.clone() }));
        }
        env.push((name.value.clone(), text(value)?));
    }
    let ready = match &process.ready {
        Some(ready) => ready_spec(ready, known)?,
        None => Ready::Started,
    };
    let disk = read(process.disk.as_ref(), disk)?;
    let restart = match process.restart {
        RestartDocument::Never => Restart::Never,
        RestartDocument::OnFailure => Restart::OnFailure,
        RestartDocument::Always => Restart::Always,
    };
    Ok(ProcessSpec { name: process.name.value.clone(), command, env, disk, ready, restart })
}

/// The size of a filesystem.
fn disk(text: &str) -> Result<u64, Problem> {
    let size: Bytes = text.parse().map_err(|error| Problem::Disk(format!("{error}")))?;
    if !(MIN_DISK..=MAX_DISK).contains(&size.get()) {
        let (least, most) = (Bytes::new(MIN_DISK), Bytes::new(MAX_DISK));
        return Err(Problem::Disk(format!("a disk has from {least} to {most}, not {size}")));
    }
    Ok(size.get())
}

fn ready_spec(ready: &Spanned<ReadyDocument>, known: &[String]) -> Checked<Ready> {
    let within = match &ready.value.within {
        Some(text) => duration(&text.value).at(text.referenced)?,
        None => READY_WITHIN,
    };
    match (&ready.value.http, &ready.value.tcp) {
        (Some(url), None) => {
            let problem = || Problem::Url { text: url.value.clone() };
            let parsed =
                reqwest::Url::parse(&url.value).map_err(|_| problem()).at(url.referenced)?;
            let host = parsed.host_str().filter(|_| parsed.scheme() == "http");
            let host = host.ok_or_else(problem).at(url.referenced)?;
            known_host(host.trim_matches(['[', ']']), known).at(url.referenced)?;
            Ok(Ready::Http { url: url.value.clone(), within })
        }
        (None, Some(text)) => {
            let problem = || Problem::HostPort { text: text.value.clone() };
            let (host, port) =
                text.value.rsplit_once(':').ok_or_else(problem).at(text.referenced)?;
            let port: u16 = port.parse().map_err(|_| problem()).at(text.referenced)?;
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            if port == 0 || host.is_empty() {
                return Err((text.referenced, problem()));
            }
            known_host(host, known).at(text.referenced)?;
            Ok(Ready::Tcp { host: host.into(), port, within })
        }
        _ => Err((ready.referenced, Problem::ReadyChoice)),
    }
}

fn known_host(host: &str, known: &[String]) -> Result<(), Problem> {
    if host == "localhost" || host.parse::<IpAddr>().is_ok() || known.iter().any(|n| n == host) {
        return Ok(());
    }
    Err(Problem::UnknownHost {
        name: host.into(),
        nearest: nearest(host, known),
        known: known.to_vec(),
    })
}

fn duration(text: &str) -> Result<Duration, Problem> {
    let wrong = || Problem::Duration { text: text.into() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let milliseconds = match &text[digits..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds
        .filter(|ms| (1..=600_000).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// No address twice, and enough for everybody.
fn capacity(document: &LabDocument, networks: &[NetworkSpec], nodes: &[NodeSpec]) -> Checked<()> {
    let places: Vec<Location> = document.nodes.keys().map(|name| name.referenced).collect();
    let mut taken: HashMap<IpAddr, &str> = HashMap::new();
    for (node, place) in nodes.iter().zip(&places) {
        for attachment in &node.attachments {
            let wished = [attachment.v4.map(IpAddr::V4), attachment.v6.map(IpAddr::V6)];
            for address in wished.into_iter().flatten() {
                if let Some(other) = taken.insert(address, &node.name) {
                    let (address, node) = (address.to_string(), other.to_owned());
                    return Err((*place, Problem::Taken { address, node }));
                }
            }
        }
    }
    for (at, (network, name)) in networks.iter().zip(document.networks.keys()).enumerate() {
        let on_it: HashSet<&str> = nodes
            .iter()
            .filter(|node| node.attachments.iter().any(|attachment| attachment.network == at))
            .map(|node| node.name.as_str())
            .collect();
        for prefix in [network.v4.map(IpNet::V4), network.v6.map(IpNet::V6)].into_iter().flatten() {
            let bits = u32::from(prefix.max_prefix_len() - prefix.prefix_len());
            let unusable = if matches!(prefix, IpNet::V4(_)) { 2 } else { 1 };
            let room = 1_u128.checked_shl(bits).unwrap_or(u128::MAX) - unusable;
            if on_it.len() as u128 > room {
                let problem = Problem::Full {
                    network: network.name.clone(),
                    prefix: prefix.to_string(),
                    nodes: on_it.len(),
                };
                return Err((name.referenced, problem));
            }
        }
    }
    Ok(())
}
