//! From rules to the tables of the classifier.

use std::collections::{BTreeMap, BTreeSet};

use chaos_common::control::flag;
use chaos_common::flow::Matches;
use chaos_common::rule::{self as wire, action, connections};
use chaos_common::table::{Mask, RuleKey, mask_index};
use chaos_common::{HOOKS, Hook, MAX_MASKS, MAX_MATCHES, decide};

use super::masks::{AddressPart, PortPart};
use super::rule::fraction;
use super::{Action, Connections, Rule, RuleError, Selector};
use crate::experiment::units::{Direction, PortRange, Prefix};

/// Keys that one namespace's rules may expand to.
pub const MAX_KEYS: usize = 262_144;

/// What the classifier searches: the content of one bank.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// By index.
    pub rules: Vec<wire::Rule>,
    /// By hook.
    pub masks: [Vec<Mask>; HOOKS],
    /// Keys name masks as they are numbered in bank 0.
    pub entries: BTreeMap<OrderedKey, Matches>,
    /// [`flag`] bits.
    pub flags: u32,
    /// Counter slots that the rules use, counted from 0.
    pub slots: u32,
    /// Seeds the choice of flows.
    pub flow_seed: u64,
}

/// Tables, and where each rule's packets are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// For the kernel.
    pub tables: Tables,
    /// The hooks at which each rule is looked at, by rule.
    pub hooks: Vec<Vec<Hook>>,
}

/// Rules of one network namespace with everything resolved that depends on the host.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// In the order of their counter slots.
    pub rules: &'a [Rule],
    /// By rule: indices of the devices it names; empty when it names none.
    pub devices: &'a [Vec<u32>],
    /// CLOCK_BOOTTIME, ns.
    pub not_before: u64,
    /// CLOCK_BOOTTIME, ns.
    pub not_after: u64,
    /// The run's seed.
    pub seed: u64,
    /// Whether VLAN devices are attached themselves.
    pub skip_tagged: bool,
}

/// Rules that do not fit the classifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// One rule is wrong in itself.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Too many values multiplied.
    #[error(
        "rule `{rule}` expands to more than {MAX_KEYS} keys (addresses × ports × devices); split the ports at powers of two, or use fewer prefixes"
    )]
    TooManyKeys {
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// Too many distinct shapes.
    #[error(
        "the rules look at packets in more than {MAX_MASKS} different ways (rule `{rule}` is the first too many); use fewer distinct prefix lengths and port ranges"
    )]
    TooManyMasks {
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// Too many equal selectors.
    #[error(
        "more than {MAX_MATCHES} rules choose the very same packets (rule `{rule}` is the first too many); merge some"
    )]
    TooManyMatches {
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// Rule indices are 16 bits.
    #[error("{given} rules in one namespace; at most 65534 fit")]
    TooManyRules {
        /// How many there are.
        given: usize,
    },
}

/// [`RuleKey`] with an order, so that tables are the same on every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedKey(pub RuleKey);

impl std::ops::Deref for OrderedKey {
    type Target = RuleKey;

    fn deref(&self) -> &RuleKey {
        &self.0
    }
}

impl Ord for OrderedKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        use zerocopy::IntoBytes;
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl PartialOrd for OrderedKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Compiles; pure, so the same request gives the same tables on any machine.
pub fn compile(request: &Request<'_>) -> Result<Compiled, CompileError> {
    let given = request.rules.len();
    if given >= usize::from(u16::MAX) {
        return Err(CompileError::TooManyRules { given });
    }
    let mut builder = Builder::default();
    let mut all_hooks = Vec::with_capacity(given);
    let acting = request.rules.iter().filter(|rule| rule.action != Action::Protect);
    let used: BTreeSet<Hook> = acting.flat_map(hooks).collect();
    for (index, rule) in request.rules.iter().enumerate() {
        rule.check()?;
        let mut hooks = hooks(rule);
        if rule.action == Action::Protect {
            hooks.extend(further_protection(&rule.selector, &used));
        }
        let devices = request.devices.get(index).map_or(&[][..], Vec::as_slice);
        for &hook in &hooks {
            builder.add(hook, index as u16, rule, devices)?;
        }
        builder.tables.rules.push(encode(index, rule, request));
        all_hooks.push(hooks);
    }
    let mut tables = builder.tables;
    tables.slots = given as u32;
    tables.flags = flags(request);
    tables.flow_seed = request.seed;
    Ok(Compiled { tables, hooks: all_hooks })
}

/// Where a rule must look. Packets that leave a cgroup are recognised at tc egress by their
/// socket; packets that arrive have none yet there, so `cgroup_skb` looks at them.
fn hooks(rule: &Rule) -> Vec<Hook> {
    let Rule { name: _, selector, action } = rule;
    let mut hooks = Vec::new();
    if selector.direction != Direction::From {
        hooks.push(Hook::Egress);
        if connects(selector, action) {
            hooks.push(Hook::Connect);
        }
    }
    if selector.direction != Direction::To {
        hooks.push(if selector.cgroup.is_some() { Hook::CgroupIngress } else { Hook::Ingress });
    }
    hooks
}

/// Where else protection has to look: wherever a rule of the same fault may act.
fn further_protection<'a>(
    selector: &'a Selector,
    used: &'a BTreeSet<Hook>,
) -> impl Iterator<Item = Hook> + 'a {
    let arriving = selector.direction != Direction::To && selector.cgroup.is_none();
    let calling = selector.direction != Direction::From && known_when_calling(selector);
    [(Hook::CgroupIngress, arriving), (Hook::Connect, calling)]
        .into_iter()
        .filter_map(|(hook, fits)| (fits && used.contains(&hook)).then_some(hook))
}

/// At connect time the local end and the device are not known yet, and nothing is established.
fn connects(selector: &Selector, action: &Action) -> bool {
    let Action::Reject(reject) = action else { return false };
    reject.errno.is_some() && known_when_calling(selector)
}

fn known_when_calling(selector: &Selector) -> bool {
    selector.devices.is_empty()
        && selector.local.is_empty()
        && selector.local_ports.is_empty()
        && selector.flows.is_none()
        && selector.connections != Some(Connections::Established)
}

fn encode(index: usize, rule: &Rule, request: &Request<'_>) -> wire::Rule {
    let Selector { flows, connections: age, .. } = &rule.selector;
    let mut wire = wire::Rule {
        not_before: request.not_before,
        not_after: request.not_after,
        seed: decide::mix(request.seed, index as u64),
        flows: flows.map_or(decide::ALL, fraction),
        slot: index as u32,
        connections: match age {
            None => connections::ANY,
            Some(Connections::New) => connections::NEW,
            Some(Connections::Established) => connections::ESTABLISHED,
        },
        ..wire::Rule::ZERO
    };
    if let Some(share) = rule.action.share() {
        (wire.loss, wire.parameters) = share.encode();
    }
    match &rule.action {
        Action::Protect => {
            wire.action = action::PROTECT;
            wire.not_before = 0;
            wire.not_after = u64::MAX;
        }
        Action::Drop(_) => wire.action = action::DROP,
        Action::Reject(reject) => {
            wire.action = action::REJECT;
            wire.reject = reject.answer.code();
            wire.errno = reject.errno.map_or(0, super::Errno::number);
        }
        Action::Police(police) => {
            wire.action = action::POLICE;
            police.encode(&mut wire);
        }
        Action::Corrupt(corrupt) => {
            wire.action = action::CORRUPT;
            wire.corrupt = corrupt.checksum.code();
        }
        Action::Duplicate(duplicate) => {
            wire.action = action::DUPLICATE;
            wire.amount = [u64::from(duplicate.copies), 0];
        }
        Action::Detour(_) => wire.action = action::DETOUR,
    }
    wire
}

fn flags(request: &Request<'_>) -> u32 {
    let any = |part: fn(&Selector) -> bool| request.rules.iter().any(|rule| part(&rule.selector));
    let mut flags = 0;
    if any(|selector| selector.connections.is_some()) {
        flags |= flag::CONNECTIONS;
    }
    if any(|selector| selector.cgroup.is_some()) {
        flags |= flag::CGROUP;
    }
    if any(|selector| selector.flows.is_some()) {
        flags |= flag::FLOWS;
    }
    if request.skip_tagged {
        flags |= flag::SKIP_TAGGED;
    }
    flags
}

#[derive(Default)]
struct Builder {
    tables: Tables,
    positions: BTreeMap<(usize, Vec<u8>), usize>,
}

impl Builder {
    fn add(
        &mut self,
        hook: Hook,
        index: u16,
        rule: &Rule,
        devices: &[u32],
    ) -> Result<(), CompileError> {
        let selector = &rule.selector;
        let locals = addresses(&selector.local);
        let remotes = addresses(&selector.remote);
        let local_ports = ports(&selector.local_ports);
        let remote_ports = ports(&selector.remote_ports);
        let devices = if devices.is_empty() { &[0][..] } else { devices };
        for local in &locals {
            for remote in &remotes {
                if local.family != 0 && remote.family != 0 && local.family != remote.family {
                    continue;
                }
                for local_port in &local_ports {
                    for remote_port in &remote_ports {
                        for &device in devices {
                            let parts =
                                Parts { local, remote, local_port, remote_port, device, selector };
                            self.add_key(hook, index, rule, &parts)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn add_key(
        &mut self,
        hook: Hook,
        index: u16,
        rule: &Rule,
        parts: &Parts<'_>,
    ) -> Result<(), CompileError> {
        let name = || rule.name.clone();
        let mask = parts.mask();
        let masks = &mut self.tables.masks[hook.index()];
        let shape = (hook.index(), zerocopy::IntoBytes::as_bytes(&mask).to_vec());
        let position = *self.positions.entry(shape).or_insert_with(|| {
            masks.push(mask);
            masks.len() - 1
        });
        if position >= MAX_MASKS {
            return Err(CompileError::TooManyMasks { rule: name() });
        }
        let key = OrderedKey(parts.key(mask_index(0, hook, position) as u16));
        if self.tables.entries.len() >= MAX_KEYS && !self.tables.entries.contains_key(&key) {
            return Err(CompileError::TooManyKeys { rule: name() });
        }
        let matches = self.tables.entries.entry(key).or_insert(Matches::NONE);
        if matches.iter().any(|present| present == index) {
            return Ok(());
        }
        if matches.iter().count() == MAX_MATCHES {
            return Err(CompileError::TooManyMatches { rule: name() });
        }
        matches.push(index);
        Ok(())
    }
}

/// Disjoint parts: a packet that met two keys of one rule would meet the rule twice.
fn addresses(prefixes: &[Prefix]) -> Vec<AddressPart> {
    if prefixes.is_empty() {
        return vec![AddressPart::ANY];
    }
    let within_another = |prefix: &Prefix| {
        prefixes
            .iter()
            .any(|other| other.length() < prefix.length() && other.contains(prefix.address()))
    };
    let mut parts: Vec<_> =
        prefixes.iter().filter(|prefix| !within_another(prefix)).map(AddressPart::of).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// Disjoint, like [`addresses`].
fn ports(ranges: &[PortRange]) -> Vec<PortPart> {
    if ranges.is_empty() {
        return vec![PortPart::ANY];
    }
    let mut sorted: Vec<_> = ranges.iter().map(|range| (range.first(), range.last())).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into_iter().flat_map(|(first, last)| PortPart::of(first, last)).collect()
}

/// One combination of a selector's alternatives.
struct Parts<'a> {
    local: &'a AddressPart,
    remote: &'a AddressPart,
    local_port: &'a PortPart,
    remote_port: &'a PortPart,
    device: u32,
    selector: &'a Selector,
}

impl Parts<'_> {
    fn mask(&self) -> Mask {
        let Self { local, remote, local_port, remote_port, device, selector } = self;
        Mask {
            local: local.mask,
            remote: remote.mask,
            local_port: local_port.mask,
            remote_port: remote_port.mask,
            ifindex: if *device == 0 { 0 } else { u32::MAX },
            protocol: if selector.protocol.is_some() { u8::MAX } else { 0 },
            family: if local.family | remote.family == 0 { 0 } else { u8::MAX },
            cgroup_level: selector.cgroup.as_ref().map_or(0, |cgroup| cgroup.level + 1),
            ..Mask::ZERO
        }
    }

    fn key(&self, mask: u16) -> RuleKey {
        let Self { local, remote, local_port, remote_port, device, selector } = self;
        RuleKey {
            local: local.value,
            remote: remote.value,
            cgroup: selector.cgroup.as_ref().map_or(0, |cgroup| cgroup.id),
            local_port: local_port.value,
            remote_port: remote_port.value,
            ifindex: *device,
            protocol: selector.protocol.map_or(0, crate::experiment::units::Protocol::number),
            family: local.family.max(remote.family),
            mask,
            reserved: 0,
        }
    }
}
