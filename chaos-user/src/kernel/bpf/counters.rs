//! Reading the evidence.

use std::borrow::Borrow;

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use chaos_common::counter::{HookCounters, RuleCounters};
use chaos_common::{HOOKS, Hook};

use super::BpfError;
use super::object::map_error;

const RULES: &str = "RULE_COUNTERS";
const HOOKS_MAP: &str = "HOOK_COUNTERS";

/// Counters of one object, summed over all CPUs when read.
pub struct Counters<T> {
    rules: PerCpuArray<T, RuleCounters>,
    hooks: PerCpuArray<T, HookCounters>,
}

impl<T> std::fmt::Debug for Counters<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

/// All hooks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookSnapshot([HookCounters; HOOKS]);

impl HookSnapshot {
    /// What one hook has counted.
    pub fn hook(&self, hook: Hook) -> &HookCounters {
        &self.0[hook.index()]
    }
}

impl<'a> Counters<&'a MapData> {
    pub(crate) fn of(ebpf: &'a Ebpf) -> Result<Self, BpfError> {
        let map = |name| ebpf.map(name).ok_or(BpfError::Foreign { kind: "map", name });
        Ok(Self {
            rules: PerCpuArray::try_from(map(RULES)?).map_err(map_error(RULES))?,
            hooks: PerCpuArray::try_from(map(HOOKS_MAP)?).map_err(map_error(HOOKS_MAP))?,
        })
    }

    /// What another process needs to read the same counters.
    pub(crate) fn map_ids(ebpf: &Ebpf) -> Result<[u32; 2], BpfError> {
        let id = |name| match ebpf.map(name) {
            Some(Map::PerCpuArray(data)) => Ok(data.info().map_err(map_error(name))?.id()),
            _ => Err(BpfError::Foreign { kind: "map", name }),
        };
        Ok([id(RULES)?, id(HOOKS_MAP)?])
    }
}

impl Counters<MapData> {
    /// Those of another process's object.
    pub fn by_id([rules, hooks]: [u32; 2]) -> Result<Self, BpfError> {
        let map = |id, name| -> Result<Map, BpfError> {
            Ok(Map::PerCpuArray(MapData::from_id(id).map_err(map_error(name))?))
        };
        Ok(Self {
            rules: PerCpuArray::try_from(map(rules, RULES)?).map_err(map_error(RULES))?,
            hooks: PerCpuArray::try_from(map(hooks, HOOKS_MAP)?).map_err(map_error(HOOKS_MAP))?,
        })
    }
}

impl<T: Borrow<MapData>> Counters<T> {
    /// What the rule with this slot has done since the object was loaded.
    pub fn rule(&self, slot: u32) -> Result<RuleCounters, BpfError> {
        let values = self.rules.get(&slot, 0).map_err(map_error(RULES))?;
        let mut sum = RuleCounters::ZERO;
        values.iter().for_each(|value| sum.add(value));
        Ok(sum)
    }

    /// What the hooks have seen since the object was loaded.
    pub fn hooks(&self) -> Result<HookSnapshot, BpfError> {
        let mut all = [HookCounters::ZERO; HOOKS];
        for hook in Hook::ALL {
            let index = hook.index() as u32;
            let values = self.hooks.get(&index, 0).map_err(map_error(HOOKS_MAP))?;
            values.iter().for_each(|value| all[hook.index()].add(value));
        }
        Ok(HookSnapshot(all))
    }
}
