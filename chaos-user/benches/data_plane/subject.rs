//! A loaded object whose programs are run over packets.

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData, MapInfo};
use aya::programs::{TestRun as _, TestRunOptions};
use chaos::experiment::units::{Direction, PortRange, Prefix, Protocol};
use chaos::kernel::bpf::{Object, Sizes};
use chaos::plan::{Action, Connections, Request, Rule, Selector, Tables, compile};
use chaos_common::Hook;
use chaos_common::control::{Control, state};
use chaos_common::counter::HookCounters;

use crate::packet::{PORT, peer};

pub(crate) const EMPTY: &str = "chaos_empty";

/// What distinguishes the rules of one measurement from those of another.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) count: u32,
    pub(crate) v6: bool,
    pub(crate) protocol: Protocol,
    pub(crate) action: Action,
    /// Whether the rules are in their time window.
    pub(crate) live: bool,
    /// Distinct mask combinations that the rules are spread over.
    pub(crate) shapes: u32,
    pub(crate) connections: Option<Connections>,
    pub(crate) direction: Direction,
}

impl Rules {
    /// Rule `i` selects packets to `peer(v6, i)`.
    pub(crate) fn list(&self) -> Vec<Rule> {
        (0..self.count).map(|i| self.rule(i)).collect()
    }

    fn rule(&self, i: u32) -> Rule {
        // The first shape is the exact address; each further one is a shorter prefix elsewhere.
        let shape = i % self.shapes;
        let remote: Prefix = match (shape, self.v6) {
            (0, _) => peer(self.v6, i).into(),
            (_, false) => {
                let other = std::net::Ipv4Addr::from(0xc000_0000 | (i << 8));
                Prefix::network(other.into(), 32 - shape as u8)
            }
            (_, true) => {
                let other = std::net::Ipv6Addr::new(0xfd01, 0, 0, 0, 0, i as u16, 0, 0);
                Prefix::network(other.into(), 128 - shape as u8)
            }
        };
        Rule {
            name: format!("rule {i}"),
            selector: Selector {
                direction: self.direction,
                protocol: Some(self.protocol),
                remote: vec![remote],
                remote_ports: PortRange::new(PORT, PORT).into_iter().collect(),
                connections: self.connections,
                ..Selector::default()
            },
            action: self.action.clone(),
        }
    }

    pub(crate) fn tables(&self, rules: &[Rule]) -> Result<Tables> {
        let not_before = if self.live { 0 } else { u64::MAX - 1 };
        let request = Request {
            rules,
            devices: &[],
            not_before,
            not_after: u64::MAX,
            seed: 1,
            skip_tagged: false,
        };
        Ok(compile(&request)?.tables)
    }
}

/// An armed object, and the baseline beside it.
pub(crate) struct Subject {
    object: Object,
    control: Array<MapData, Control>,
    hook: Hook,
}

impl Subject {
    /// Loads and arms.
    pub(crate) fn armed(rules: &Rules) -> Result<Self> {
        let tables = rules.tables(&rules.list())?;
        let mut object = Object::load(Sizes::of(&tables))?;
        object.lease().extend(u64::MAX);
        let filled = object.fill(&tables)?;
        object.flip(filled, 0);
        let hook = if rules.direction == Direction::From { Hook::Ingress } else { Hook::Egress };
        let control = control(&mut object)?;
        Ok(Self { object, control, hook })
    }

    pub(crate) fn disarm(&mut self) {
        self.object.disarm();
    }

    /// The classifier's time per packet, ns, over `repeat` runs in the kernel.
    pub(crate) fn classify(&mut self, packet: &[u8], repeat: u32) -> Result<Timed> {
        let name = if self.hook == Hook::Ingress { "chaos_ingress" } else { "chaos_egress" };
        run(&mut self.object, name, packet, repeat)
    }

    /// The empty program's.
    pub(crate) fn baseline(&mut self, packet: &[u8], repeat: u32) -> Result<Timed> {
        run(&mut self.object, EMPTY, packet, repeat)
    }

    /// Of nothing but finding the packet's rule.
    pub(crate) fn lookup(&mut self, packet: &[u8], repeat: u32) -> Result<Timed> {
        run(&mut self.object, "chaos_lookup", packet, repeat)
    }

    /// Makes every flow cache entry stale, as a flip to a new plan does.
    pub(crate) fn forget_flows(&mut self) -> Result<()> {
        let mut control = self.control.get(&0, 0)?;
        let next = state::generation(control.state).wrapping_add(1);
        control.state = state::armed(state::bank(control.state), next);
        self.control.set(0, control, 0)?;
        Ok(())
    }

    pub(crate) fn counters(&self) -> Result<HookCounters> {
        Ok(*self.object.counters()?.hooks()?.hook(self.hook))
    }
}

/// One timed test run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) ns: f64,
    pub(crate) code: i32,
}

fn run(object: &mut Object, name: &'static str, packet: &[u8], repeat: u32) -> Result<Timed> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.repeat = repeat;
    let result = object.classifier(name)?.test_run(options)?;
    Ok(Timed { ns: result.duration.as_nanos() as f64, code: result.return_value.cast_signed() })
}

/// The map behind `CONTROL`, found through a program that uses it.
fn control(object: &mut Object) -> Result<Array<MapData, Control>> {
    let program = object.classifier("chaos_egress")?.info()?;
    for id in program.map_ids()?.context("the kernel does not tell a program's maps")? {
        if MapInfo::from_id(id)?.name_as_str() == Some("CONTROL") {
            return Ok(Array::try_from(Map::Array(MapData::from_id(id)?))?);
        }
    }
    bail!("the program uses no map named CONTROL")
}
