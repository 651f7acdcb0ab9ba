//! One network namespace's share of a session: its object, its attachments, its rules.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use chaos_common::Hook;

use super::detour::{self, Detour, HOOKS, Surroundings, Way, is_detour};
use super::journal::{ActiveFault, ActiveRule, Entry, HostLock, Journal, Record};
use super::lease::Kept;
use super::network::end;
use super::ramp::Ramp;
use super::{Fault, FaultError, FilterUndo, MeasuredDelay, NetworkFault, RuleEvidence};
use crate::experiment::units::{Direction, Span, nearest};
use crate::host::Cgroups;
use crate::kernel::bpf::{
    Attached, CgroupProgram, DetourAt, Device, EventStream, HookPoint, HookSnapshot, LeaseHandle,
    Mechanism, Object, Sizes, TcProgram, Trace,
};
use crate::kernel::netlink::{Link, Netlink};
use crate::kernel::netns::NetNs;
use crate::plan::{Action, Compiled, Request, compile, growth};

/// The devices whose traffic the local stack sends and receives: up, and no port of a bridge or
/// bond, whose packets are seen on the device above already.
pub fn default_devices(links: &[Link]) -> Vec<Link> {
    let carries = |link: &&Link| link.up && link.master.is_none() && !is_detour(&link.name);
    links.iter().filter(carries).cloned().collect()
}

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

/// A program in its place, with the record of it if it would stay there without this process.
#[derive(Debug)]
struct Placed {
    attached: Attached,
    entry: Option<Entry>,
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

    /// How long packets were held.
    pub(super) fn delays(&self) -> Result<Vec<MeasuredDelay>, FaultError> {
        let name = |rule: usize| {
            self.fault.rules.get(rule).map_or_else(String::new, |rule| rule.name.clone())
        };
        match &self.detour {
            Some(detour) => Ok(detour.measured(&self.object, &name)?),
            None => Ok(Vec::new()),
        }
    }

    /// Who holds packets, in words.
    pub(super) fn holder(&self) -> Option<&str> {
        self.detour.as_ref().map(Detour::name)
    }

    pub(super) fn detour_remarks(&self) -> Vec<String> {
        self.detour.as_ref().map_or_else(Vec::new, Detour::remarks)
    }

    /// The lease, and whose death must end the detour.
    pub(super) fn kept(&self) -> Kept {
        (self.object.lease(), self.detour.as_ref().and_then(Detour::heartbeat))
    }

    fn attach_tc(&mut self, used: &[&Link], journal: &Journal) -> Result<(), FaultError> {
        let wanted: BTreeSet<Hook> = self.hooks.iter().flatten().copied().collect();
        let netns = self.fault.netns.clone();
        let mechanism = self.fault.mechanism;
        for link in used {
            let device =
                Device { index: link.index, name: link.name.clone(), ethernet: link.ethernet };
            for &hook in &wanted {
                let Some(program) = TcProgram::of(&device, hook) else { continue };
                if mechanism == Mechanism::Tcx {
                    self.place(&netns, &device, program, None)?;
                    continue;
                }
                // No other run may add or remove the clsact qdisc between the look and the filter.
                let _alone = HostLock::take()?;
                let exists = netns
                    .block_on(|| async { Netlink::open()?.has_clsact(device.index).await })??;
                // Written before it is known whether TCX will do: an undo record without anything
                // to undo is harmless, the reverse is not.
                let entry = journal.append(Record::Filter(FilterUndo {
                    netns: (&netns).into(),
                    ifindex: device.index,
                    device: device.name.clone(),
                    program: Some(self.object.program_id(program)?),
                    clsact: FilterUndo::owns_clsact(exists, &netns, device.index)?,
                }))?;
                self.place(&netns, &device, program, Some(entry))?;
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        netns: &NetNs,
        device: &Device,
        program: TcProgram,
        entry: Option<Entry>,
    ) -> Result<(), FaultError> {
        let (object, mechanism) = (&mut self.object, self.fault.mechanism);
        let attached = netns
            .run(|| object.attach_tc(device, program, mechanism))
            .map_err(FaultError::from)
            .and_then(|attached| attached.map_err(FaultError::from));
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                // What fails here, too, stays in the journal.
                let _ = entry.map(Entry::undo);
                return Err(error);
            }
        };
        let entry = match attached.point.filter {
            Some(_) => entry,
            None => {
                // A link goes with this process, so the record is about nothing.
                entry.into_iter().for_each(Entry::done);
                None
            }
        };
        self.attached.push(Placed { attached, entry });
        Ok(())
    }

    fn attach_cgroups(&mut self) -> Result<(), FaultError> {
        let mut arriving: Vec<PathBuf> = Vec::new();
        let mut calling: Vec<PathBuf> = Vec::new();
        let rules = self.fault.rules.iter().zip(&self.hooks);
        // Protection looks where other rules act, and brings nothing of its own.
        for (rule, hooks) in rules.filter(|(rule, _)| rule.action != Action::Protect) {
            let cgroup = rule.selector.cgroup.as_ref();
            if hooks.contains(&Hook::CgroupIngress) {
                arriving.extend(cgroup.map(|cgroup| cgroup.path.clone()));
            }
            if hooks.contains(&Hook::Connect) {
                let path = match cgroup {
                    Some(cgroup) => cgroup.path.clone(),
                    None => Cgroups::find()?.root().to_owned(),
                };
                calling.push(path);
            }
        }
        for path in topmost(arriving) {
            let attached = self.object.attach_cgroup(&path, CgroupProgram::Ingress)?;
            self.attached.push(Placed { attached, entry: None });
        }
        for path in topmost(calling) {
            for program in CgroupProgram::CALLS {
                let attached = self.object.attach_cgroup(&path, program)?;
                self.attached.push(Placed { attached, entry: None });
            }
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        &self.fault.name
    }

    pub(super) fn lease(&self) -> LeaseHandle {
        self.object.lease()
    }

    pub(super) fn attached(&self) -> impl Iterator<Item = &HookPoint> {
        self.attached.iter().map(|placed| &placed.attached.point)
    }

    pub(super) fn hooks(&self) -> Result<HookSnapshot, FaultError> {
        Ok(self.object.counters()?.hooks()?)
    }

    pub(super) fn evidence(&self) -> Result<Vec<RuleEvidence>, FaultError> {
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

    pub(super) fn describe(&self) -> Result<ActiveFault, FaultError> {
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

    pub(super) fn drain(&mut self) -> Vec<Fault> {
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

    fn detach_all(&mut self) -> Vec<String> {
        self.ramp = None;
        self.object.disarm();
        let mut left = Vec::new();
        // Held packets come back through the programs, so those go last.
        if let Some(mut detour) = self.detour.take() {
            left.extend(detour.tear_down(&mut self.object, &self.fault.netns));
        }
        while let Some(Placed { attached, entry }) = self.attached.pop() {
            let point = attached.point.clone();
            let object = &mut self.object;
            let netns = self.fault.netns.clone();
            let detached = netns
                .run(|| object.detach(attached).map_err(FaultError::from))
                .map_err(FaultError::from)
                .and_then(|outcome| outcome);
            // The record says what has to be gone, reads it back, and sees to the clsact qdisc.
            let outcome = match entry {
                Some(entry) => entry.undo().map(|_| ()).map_err(|error| error.to_string()),
                None => detached.map_err(|error| error.to_string()),
            };
            if let Err(error) = outcome {
                left.push(format!("{point}: {error}"));
            }
        }
        left
    }
}

/// What [`Scope::prepare`] would attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Device names.
    pub devices: Vec<String>,
    /// Hooks, in words.
    pub programs: Vec<String>,
    /// Who would hold packets.
    pub holder: Option<detour::Backend>,
}

/// Checks a fault as starting it would, and says what would be attached; touches nothing.
pub fn preview(fault: &NetworkFault) -> Result<Preview, FaultError> {
    let links = fault.netns.block_on(|| async { Netlink::open()?.links().await })??;
    let (devices, used) = resolve_devices(fault, &links)?;
    let Compiled { hooks, .. } = compile(&request(fault, &devices, false, 0, 0))?;
    check_cgroups(fault)?;
    let wanted: BTreeSet<Hook> = hooks.into_iter().flatten().collect();
    let programs = wanted.into_iter().map(|hook| {
        match hook {
            Hook::Egress => "tc egress",
            Hook::Ingress => "tc ingress",
            Hook::CgroupIngress => "cgroup_skb ingress",
            Hook::Connect => "cgroup connect and sendmsg",
        }
        .into()
    });
    Ok(Preview {
        devices: used.iter().map(|link| link.name.clone()).collect(),
        programs: programs.collect(),
        holder: fault.detours.check()?,
    })
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

/// The indices that each rule names, and all devices to attach to.
fn resolve_devices<'a>(
    fault: &NetworkFault,
    links: &'a [Link],
) -> Result<(Vec<Vec<u32>>, Vec<&'a Link>), FaultError> {
    let mut used = BTreeSet::new();
    let mut all = Vec::with_capacity(fault.rules.len());
    for rule in &fault.rules {
        let mut indices = Vec::new();
        for name in &rule.selector.devices {
            let link = find(name, links, &fault.netns)?;
            indices.push(link.index);
            used.insert(link.index);
        }
        if indices.is_empty() && rule.action != Action::Protect {
            used.extend(default_devices(links).iter().map(|link| link.index));
        }
        all.push(indices);
    }
    let used: Vec<_> = links.iter().filter(|link| used.contains(&link.index)).collect();
    if used.is_empty() {
        return Err(FaultError::NoDevices { namespace: fault.netns.to_string() });
    }
    Ok((all, used))
}

/// The device of this name, which has to be up.
pub(super) fn find<'a>(
    name: &str,
    links: &'a [Link],
    netns: &NetNs,
) -> Result<&'a Link, FaultError> {
    match links.iter().find(|link| link.name == name) {
        Some(link) if link.up => Ok(link),
        Some(_) => Err(FaultError::DeviceDown { name: name.into() }),
        None => Err(FaultError::NoDevice {
            name: name.into(),
            namespace: netns.to_string(),
            nearest: nearest(name, links.iter().map(|link| link.name.as_str())).map(Into::into),
            known: links.iter().map(|link| link.name.clone()).collect(),
        }),
    }
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

/// A program on a cgroup also runs for its descendants; attached to both it would count twice.
fn topmost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}
