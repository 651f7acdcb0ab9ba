//! Network faults: node names become addresses, and rules come into force.

use std::net::IpAddr;

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::experiment::{Behavior, DetourSpec, NetworkSpec, Prefix, Span};
use crate::fault::{Active, Detours, FaultError, Journal, NetworkFault, Session, protection};
use crate::host::operator_sessions;
use crate::kernel::bpf::Mechanism;
use crate::kernel::netns::NetNs;
use crate::plan::{Action, Detour, Loss, Reject, Rule, Selector, growth};

/// The kernel ends the rules this long after the conductor should have.
const MARGIN: Span = Span::from_secs(2);

/// Rules by node; `None` is this host.
pub(super) type NodeRules = Vec<(Option<String>, Vec<Rule>)>;

/// The rules of a network fault. Pure: `addresses` gives those of a node.
pub(super) fn rules(
    name: &str,
    spec: &NetworkSpec,
    addresses: &dyn Fn(&str) -> Vec<IpAddr>,
) -> NodeRules {
    let action = match (&spec.detour, spec.behavior) {
        (Some(detour), _) => {
            let what = detour.impairment.to_string();
            Action::Detour(Detour { share: Loss::Always, what })
        }
        (None, Behavior::Drop(loss)) => Action::Drop(loss),
        (None, Behavior::Reject) => Action::Reject(Reject::default()),
        (None, Behavior::Duplicate(duplicate)) => Action::Duplicate(duplicate),
        (None, Behavior::Corrupt(corrupt)) => Action::Corrupt(corrupt),
        (None, Behavior::Police(police)) => Action::Police(police),
    };
    let rule = |rule_name: String, remote: Vec<Prefix>| Rule {
        name: rule_name,
        selector: Selector {
            direction: spec.direction,
            devices: spec.devices.clone(),
            protocol: spec.protocol,
            local: spec.local.clone(),
            local_ports: spec.local_ports.clone(),
            remote,
            remote_ports: spec.remote_ports.clone(),
            cgroup: None,
            flows: spec.flows,
            connections: spec.connections,
        },
        action: action.clone(),
    };
    let places: Vec<Option<String>> = match spec.nodes.as_slice() {
        [] => vec![None],
        nodes => nodes.iter().cloned().map(Some).collect(),
    };
    let on = |place: &Option<String>| {
        place.as_deref().map_or(name.to_owned(), |n| format!("{name}: {n}"))
    };
    places
        .into_iter()
        .map(|place| {
            let mut rules: Vec<Rule> = spec
                .remote_nodes
                .iter()
                .map(|node| {
                    let remote = addresses(node).into_iter().map(Prefix::host).collect();
                    rule(format!("{}–{node}", on(&place)), remote)
                })
                .collect();
            if !spec.remote.is_empty() || rules.is_empty() {
                rules.push(rule(on(&place), spec.remote.clone()));
            }
            (place, rules)
        })
        .collect()
}

/// What rules say, and how long they take to be whole.
pub(super) fn explain(rules: &NodeRules, ramp: Span) -> Vec<RuleText> {
    let rules = rules.iter().flat_map(|(_, rules)| rules);
    let grows = growth::words(ramp);
    rules
        .map(|rule| RuleText {
            rule: rule.name.clone(),
            text: format!("{}: {}{grows}", rule.action, rule.selector),
        })
        .collect()
}

/// Brings rules into force.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    (rules, detour, ramp): (NodeRules, Option<&DetourSpec>, Span),
    lasts: Span,
    seed: u64,
    protect: &[Rule],
    netns: &dyn Fn(Option<&str>) -> Result<NetNs, Trouble>,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let mut faults = Vec::new();
    for (node, mut rules) in rules {
        let place = netns(node.as_deref())?;
        let held = rules.len();
        // A node may be this host by another name.
        if NetNs::of_this_process().is_ok_and(|here| here.id() == place.id()) {
            rules.extend(protection(&operator_sessions()));
        }
        rules.extend(protect.iter().cloned());
        faults.push(NetworkFault {
            name: name.to_owned(),
            netns: place,
            rules,
            lasts: Span::from_nanos(lasts.nanos().saturating_add(MARGIN.nanos())),
            seed,
            mechanism: Mechanism::Auto,
            detours: detours(detour, held),
            ramp,
            trace_rate: 0,
        });
    }
    let active =
        Session::start_in(journal, &faults).map_err(|error| Trouble::new(&error, error.exit()))?;
    Ok(Box::new(Injected(active)))
}

/// All of a fault's own rules hold packets alike; what protects comes after them.
fn detours(spec: Option<&DetourSpec>, rules: usize) -> Detours {
    spec.map_or_else(Detours::default, |spec| Detours {
        backend: spec.backend,
        rules: (0..rules).map(|rule| (rule, spec.impairment.clone())).collect(),
        line: spec.line.clone(),
    })
}

struct Injected(Active);

impl ActiveFault for Injected {
    fn heal(mut self: Box<Self>) -> Result<Proof, Trouble> {
        self.0.stop();
        let held_by = self.0.holders().map(ToOwned::to_owned).collect();
        let (delays, remarks) = (self.0.delays(), self.0.remarks());
        let failed = |error: FaultError| Trouble::new(&error, error.exit());
        // What cannot be read is told after everything was put back.
        let evidence = self.0.heal().map_err(failed)?;
        let (delays, remarks) = (delays.map_err(failed)?, remarks.map_err(failed)?);
        Ok(Proof { evidence, held_by, delays, remarks })
    }
}
