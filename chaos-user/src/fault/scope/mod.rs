//! One network namespace's share of a session: its object, its attachments, its rules.

mod attach;
mod devices;
mod preview;
mod tell;

pub use devices::default_devices;
pub(super) use devices::find;
pub use preview::{Preview, preview};

use std::sync::mpsc::Sender;

use chaos_common::Hook;

use self::attach::Placed;
use self::devices::resolve_devices;
use super::detour::{self, Detour, HOOKS, Surroundings, Way, is_detour};
use super::journal::Journal;
use super::lease::Kept;
use super::ramp::Ramp;
use super::{FaultError, NetworkFault};
use crate::experiment::units::{Direction, Span};
use crate::host::Cgroups;
use crate::kernel::bpf::{DetourAt, EventStream, LeaseHandle, Object, Sizes, Trace};
use crate::kernel::netlink::{Link, Netlink};
use crate::plan::{Compiled, Request, compile, growth};

#[derive(Debug)]
pub(super) struct Scope {
    fault: NetworkFault,
    devices: Vec<Vec<u32>>,
    skip_tagged: bool,
    netns_cookie: u64,
    hooks: Vec<Vec<Hook>>,
    object: Object,
    events: EventStream,
    trace: Option<Trace>,
    attached: Vec<Placed>,
    detour: Option<Detour>,
    ramp: Option<Ramp>,
}

impl Scope {
    /// Everything up to, but not including, the moment packets are hit.
    pub(super) fn prepare(
        fault: &NetworkFault,
        journal: &Journal,
        trace: &Sender<String>,
    ) -> Result<Self, FaultError> {
        let links = fault.netns.block_on(|| async { Netlink::open()?.links().await })??;
        let (devices, used) = resolve_devices(fault, &links)?;
        let skip_tagged = used.iter().any(|link| link.kind.as_deref() == Some("vlan"));
        let Compiled { tables, hooks } = compile(&request(fault, &devices, skip_tagged, 0, 0))?;
        let netns_cookie = fault.netns.cookie()?;
        check_cgroups(fault)?;
        let holder = fault.detours.check()?;
        let delays = fault.detours.measurements();
        let mut object = Object::load(Sizes {
            delays,
            queues: fault.detours.queues(holder),
            ..Sizes::of(&tables)
        })?;
        object.set_trace_rate(fault.trace_rate);
        let log =
            (fault.trace_rate > 0).then(|| Trace::take(&mut object, trace.clone())).transpose()?;
        let events = EventStream::take(&mut object)?;
        let mut scope = Self {
            fault: fault.clone(),
            devices,
            skip_tagged,
            netns_cookie,
            hooks,
            object,
            events,
            trace: log,
            attached: Vec::new(),
            detour: None,
            ramp: None,
        };
        // From here on dropping the scope undoes what was attached.
        if let Some(holder) = holder {
            scope.detour(holder, &used, journal)?;
        }
        scope.attach_tc(&used, journal)?;
        scope.attach_cgroups()?;
        Ok(scope)
    }

    /// Brings the rules into force.
    pub(super) fn arm(&mut self, not_before: u64, not_after: u64) -> Result<(), FaultError> {
        let request = request(&self.fault, &self.devices, self.skip_tagged, not_before, not_after);
        let mut tables = compile(&request)?.tables;
        let ramp = self.fault.ramp;
        let growing = match ramp {
            Span::ZERO => Vec::new(),
            ramp => growth::begin(&mut tables.rules, Ramp::first(ramp)),
        };
        let filled = self.object.fill(&tables)?;
        self.object.flip(filled, self.netns_cookie);
        if !growing.is_empty() {
            let rules = self.object.serving_rules()?;
            let grow = move |share| {
                for one in &growing {
                    rules.set(one.rule, one.word, one.at(share));
                }
            };
            self.ramp = Some(Ramp::start(ramp, grow).map_err(FaultError::Ramp)?);
        }
        if let Some(detour) = &mut self.detour {
            detour.start_ramp(ramp)?;
        }
        Ok(())
    }

    /// Sets up the way for packets of rules that take them aside.
    fn detour(
        &mut self,
        holder: detour::Backend,
        used: &[&Link],
        journal: &Journal,
    ) -> Result<(), FaultError> {
        let mut ways = Vec::new();
        for (impairment, (rule, _)) in self.fault.detours.rules.iter().enumerate() {
            let Some(named) = self.devices.get(*rule) else { continue };
            let passes = |link: &&&Link| {
                let by_default = named.is_empty() && link.master.is_none();
                named.contains(&link.index) || by_default && !is_detour(&link.name)
            };
            for link in used.iter().filter(passes) {
                for hook in HOOKS.into_iter().filter(|hook| self.hooks[*rule].contains(hook)) {
                    let at = DetourAt { rule: *rule as u32, device: link.index, hook };
                    ways.push(Way { at, impairment });
                }
            }
        }
        let surroundings = Surroundings {
            netns: &self.fault.netns,
            journal,
            mechanism: self.fault.mechanism,
            seed: self.fault.seed,
            devices: used,
        };
        let asked = (&self.fault.detours, holder, Ramp::first(self.fault.ramp));
        let detour = Detour::set_up(asked, &ways, &mut self.object, &surroundings)?;
        self.detour = Some(detour);
        Ok(())
    }

    /// The lease, and whose death must end the detour.
    pub(super) fn kept(&self) -> Kept {
        (self.object.lease(), self.detour.as_ref().and_then(Detour::heartbeat))
    }

    pub(super) fn name(&self) -> &str {
        &self.fault.name
    }

    pub(super) fn lease(&self) -> LeaseHandle {
        self.object.lease()
    }

    pub(super) fn flush_trace(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.flush();
        }
    }

    /// Lets what is held come back. The rules must not take packets aside any more.
    pub(super) fn release(&mut self) {
        self.ramp = None;
        if let Some(detour) = &mut self.detour {
            detour.release();
        }
    }

    /// Takes everything off again; what could not be is described.
    pub(super) fn undo(mut self) -> Vec<String> {
        self.detach_all()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // What fails here is in the journal.
        let _ = self.detach_all();
    }
}

fn request<'a>(
    fault: &'a NetworkFault,
    devices: &'a [Vec<u32>],
    skip_tagged: bool,
    not_before: u64,
    not_after: u64,
) -> Request<'a> {
    let NetworkFault { rules, seed, .. } = fault;
    Request { rules, devices, not_before, not_after, seed: *seed, skip_tagged }
}

/// Arriving packets are recognised by their cgroup alone, whatever namespace the socket is in.
fn check_cgroups(fault: &NetworkFault) -> Result<(), FaultError> {
    for rule in &fault.rules {
        if let Some(cgroup) = &rule.selector.cgroup
            && rule.selector.direction != Direction::To
        {
            Cgroups::find()?.check_namespace(&cgroup.path, fault.netns.inode())?;
        }
    }
    Ok(())
}
