//! What a scope tells: how packets fared, and what is attached where.

use super::Scope;
use crate::fault::detour::Detour;
use crate::fault::journal::{ActiveFault, ActiveRule};
use crate::fault::network::end;
use crate::fault::{Fault, FaultError, MeasuredDelay, RuleEvidence};
use crate::kernel::bpf::{HookPoint, HookSnapshot};
use crate::plan::Action;

impl Scope {
    /// How long packets were held.
    pub(in crate::fault) fn delays(&self) -> Result<Vec<MeasuredDelay>, FaultError> {
        let name = |rule: usize| {
            self.fault.rules.get(rule).map_or_else(String::new, |rule| rule.name.clone())
        };
        match &self.detour {
            Some(detour) => Ok(detour.measured(&self.object, &name)?),
            None => Ok(Vec::new()),
        }
    }

    /// Who holds packets, in words.
    pub(in crate::fault) fn holder(&self) -> Option<&str> {
        self.detour.as_ref().map(Detour::name)
    }

    pub(in crate::fault) fn detour_remarks(&self) -> Vec<String> {
        self.detour.as_ref().map_or_else(Vec::new, Detour::remarks)
    }

    pub(in crate::fault) fn attached(&self) -> impl Iterator<Item = &HookPoint> {
        self.attached.iter().map(|placed| &placed.attached.point)
    }

    pub(in crate::fault) fn hooks(&self) -> Result<HookSnapshot, FaultError> {
        Ok(self.object.counters()?.hooks()?)
    }

    pub(in crate::fault) fn evidence(&self) -> Result<Vec<RuleEvidence>, FaultError> {
        let counters = self.object.counters()?;
        let hooks = counters.hooks()?;
        let mut evidence = Vec::new();
        for (slot, (rule, looked_at)) in self.fault.rules.iter().zip(&self.hooks).enumerate() {
            if rule.action == Action::Protect {
                continue;
            }
            let own = counters.rule(slot as u32)?;
            evidence.push(RuleEvidence {
                rule: rule.name.clone(),
                seen: looked_at.iter().map(|&hook| hooks.hook(hook).seen).sum(),
                matched: own.matched,
                acted: own.acted,
                bytes: own.bytes,
            });
        }
        Ok(evidence)
    }

    pub(in crate::fault) fn describe(&self) -> Result<ActiveFault, FaultError> {
        let rules = self.fault.rules.iter().zip(&self.hooks).enumerate();
        Ok(ActiveFault {
            name: self.fault.name.clone(),
            netns: (&self.fault.netns).into(),
            rules: rules
                .filter(|(_, (rule, _))| rule.action != Action::Protect)
                .map(|(slot, (rule, hooks))| ActiveRule {
                    name: rule.name.clone(),
                    text: format!("{}: {}", rule.action, rule.selector),
                    slot: slot as u32,
                    hooks: hooks.iter().map(|hook| hook.index() as u32).collect(),
                })
                .collect(),
            attached: self.attached().cloned().collect(),
            counter_maps: self.object.counter_maps()?,
        })
    }

    pub(in crate::fault) fn drain(&mut self) -> Vec<Fault> {
        let rules = &self.fault.rules;
        self.events
            .drain()
            .into_iter()
            .map(|event| Fault {
                rule: rules
                    .get(event.slot as usize)
                    .map_or_else(|| format!("rule {}", event.slot), |rule| rule.name.clone()),
                time: event.time,
                sequence: event.sequence,
                local: end(event.local, event.local_port, event.family),
                remote: end(event.remote, event.remote_port, event.family),
                protocol: event.protocol,
                length: event.length,
            })
            .collect()
    }
}
