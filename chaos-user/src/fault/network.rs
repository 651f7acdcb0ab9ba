//! Network faults: rules in network namespaces.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use chaos_common::Hook;

use super::journal::{Entry, Journal, Record};
use super::lease::Keeper;
use super::scope::Scope;
use super::{Detours, Fault, FaultError, MeasuredDelay, RuleEvidence};
use crate::experiment::units::Span;
use crate::host::boot_time;
use crate::kernel::bpf::{HookPoint, Mechanism};
use crate::kernel::netns::NetNs;
use crate::plan::Rule;

/// Rules that come into force together in one network namespace.
#[derive(Debug, Clone)]
pub struct NetworkFault {
    /// What it is called in reports.
    pub name: String,
    /// Where the rules apply.
    pub netns: NetNs,
    /// What they say. Protecting rules may stand among them.
    pub rules: Vec<Rule>,
    /// The kernel ends them after this long.
    pub lasts: Span,
    /// Seeds every decision.
    pub seed: u64,
    /// How to attach.
    pub mechanism: Mechanism,
    /// What happens to the packets of rules that take them aside.
    pub detours: Detours,
    /// How long it takes to grow from a twentieth to the whole; zero is at once.
    pub ramp: Span,
    /// Log lines per second and CPU from the eBPF side; 0 is none.
    pub trace_rate: u32,
}

/// Starts faults.
#[derive(Debug)]
pub struct Session;

impl Session {
    /// Checks and prepares all faults, then brings them into force together. On an error nothing
    /// is in force and nothing is left behind.
    pub fn start(run: &str, faults: &[NetworkFault]) -> Result<Active, FaultError> {
        Self::start_in(&Journal::create(run)?, faults)
    }

    /// [`Self::start`] as a part of a run that has a journal already.
    pub fn start_in(journal: &Journal, faults: &[NetworkFault]) -> Result<Active, FaultError> {
        let (trace, lines) = channel();
        let mut active = Active {
            scopes: Vec::with_capacity(faults.len()),
            keeper: None,
            shown: None,
            deadline: 0,
            lines,
            last_events: VecDeque::new(),
        };
        // On an error, dropping `active` undoes what was done so far.
        active.bring_into_force(journal, faults, &trace)?;
        Ok(active)
    }
}

/// Faults in force. Dropping heals them; [`Self::heal`] also says how it went.
#[must_use = "dropping it heals the faults at once"]
#[derive(Debug)]
pub struct Active {
    scopes: Vec<Scope>,
    keeper: Option<Keeper>,
    /// What `chaos status` shows; it also keeps the journal open.
    shown: Option<Entry>,
    deadline: u64,
    lines: Receiver<String>,
    last_events: VecDeque<Fault>,
}

/// Sampled events kept for the report; older ones make room.
const EVENTS_KEPT: usize = 4096;

impl Active {
    fn bring_into_force(
        &mut self,
        journal: &Journal,
        faults: &[NetworkFault],
        trace: &Sender<String>,
    ) -> Result<(), FaultError> {
        let Self { scopes, keeper, shown, deadline, .. } = self;
        for fault in faults {
            scopes.push(Scope::prepare(fault, journal, trace)?);
        }
        let now = boot_time();
        let end_of = |fault: &NetworkFault| now.saturating_add(fault.lasts.nanos());
        *deadline = faults.iter().map(end_of).max().unwrap_or(now);
        *keeper = Some(Keeper::start(scopes.iter().map(Scope::kept).collect())?);
        for (scope, fault) in scopes.iter_mut().zip(faults) {
            scope.arm(now, end_of(fault))?;
        }
        *shown = Some(journal.append(Record::Active {
            faults: scopes.iter().map(Scope::describe).collect::<Result<_, _>>()?,
            deadline: *deadline,
        })?);
        Ok(())
    }

    /// Time until the kernel ends the last rule.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline.saturating_sub(boot_time()))
    }

    /// Where programs are attached.
    pub fn attached(&self) -> impl Iterator<Item = &HookPoint> {
        self.scopes.iter().flat_map(Scope::attached)
    }

    /// What each rule has seen and done so far; protecting rules are left out.
    pub fn evidence(&self) -> Result<Vec<RuleEvidence>, FaultError> {
        let mut all = Vec::new();
        for scope in &self.scopes {
            all.extend(scope.evidence()?);
        }
        Ok(all)
    }

    /// How long packets were held that have come back, by rule.
    pub fn delays(&self) -> Result<Vec<MeasuredDelay>, FaultError> {
        let mut all = Vec::new();
        for scope in &self.scopes {
            all.extend(scope.delays()?);
        }
        Ok(all)
    }

    /// Who holds packets, in words.
    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().filter_map(Scope::holder)
    }

    /// What is worth a warning: packets that escaped a rule although it chose them.
    pub fn remarks(&self) -> Result<Vec<String>, FaultError> {
        let mut remarks = Vec::new();
        for scope in &self.scopes {
            remarks.extend(scope.detour_remarks());
            let delays = scope.delays()?;
            remarks.extend(delays.iter().flat_map(|one| one.counters.remarks(&one.rule)));
            let hooks = scope.hooks()?;
            for hook in Hook::ALL {
                let counters = hooks.hook(hook);
                if counters.overflow > 0 {
                    remarks.push(format!(
                        "flows with at least {} packets matched more than {} rules of `{}`; the surplus rules did nothing to them",
                        counters.overflow,
                        chaos_common::MAX_MATCHES,
                        scope.name()
                    ));
                }
                if counters.reject_failed > 0 {
                    remarks.push(format!(
                        "{} rejected packets of `{}` could not be answered (multicast, fragments, options) and were dropped silently",
                        counters.reject_failed,
                        scope.name()
                    ));
                }
                if counters.change_failed > 0 {
                    remarks.push(format!(
                        "{} packets of `{}` could not be corrupted or copied (no payload, a protocol whose checksum is not known, tags in the packet, no memory) and passed",
                        counters.change_failed,
                        scope.name()
                    ));
                }
                if counters.detour_failed > 0 {
                    remarks.push(format!(
                        "{} packets of `{}` could not be held and passed: its detour was gone, silent or too narrow for them",
                        counters.detour_failed,
                        scope.name()
                    ));
                }
                if counters.lease_expired > 0 {
                    remarks.push(format!(
                        "{} packets escaped `{}` because this process was held up for longer than its lease",
                        counters.lease_expired,
                        scope.name()
                    ));
                }
            }
        }
        Ok(remarks)
    }

    /// Reads the ring buffers; call it now and then. The events are kept for [`Self::events`].
    pub fn drain_events(&mut self) {
        for scope in &mut self.scopes {
            for event in scope.drain() {
                if self.last_events.len() == EVENTS_KEPT {
                    self.last_events.pop_front();
                }
                self.last_events.push_back(event);
            }
        }
    }

    /// The latest sampled events.
    pub fn events(&self) -> impl Iterator<Item = &Fault> {
        self.last_events.iter()
    }

    /// Log lines of the eBPF side that have arrived.
    pub fn trace_lines(&mut self) -> Vec<String> {
        self.scopes.iter_mut().for_each(Scope::flush_trace);
        self.lines.try_iter().collect()
    }

    /// Ends the faults: nothing is hit any more, and what was held has come back or is lost. What the
    /// other methods tell is final from then on.
    pub fn stop(&mut self) {
        self.scopes.iter().for_each(|scope| scope.lease().disarm());
        self.scopes.iter_mut().for_each(Scope::release);
    }

    /// Ends the faults, puts everything back, and returns the final evidence.
    pub fn heal(mut self) -> Result<Vec<RuleEvidence>, FaultError> {
        self.stop();
        let evidence = self.evidence();
        let left = self.undo();
        if !left.is_empty() {
            return Err(FaultError::NotHealed { left });
        }
        evidence
    }

    /// Idempotent: what is healed is gone from the lists.
    fn undo(&mut self) -> Vec<String> {
        self.scopes.iter().for_each(|scope| scope.lease().disarm());
        let left: Vec<String> = self.scopes.drain(..).rev().flat_map(Scope::undo).collect();
        self.keeper = None;
        self.shown.take().into_iter().for_each(Entry::done);
        left
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // Whatever could not be undone stays in the journal for `chaos heal`.
        let _ = self.undo();
    }
}

/// One end of a sampled packet, in words.
#[doc(hidden)]
pub fn end(address: [u32; 4], port: u16, family: u8) -> String {
    let [a, b, c, d] = address;
    let address = if family == 4 {
        IpAddr::V4(Ipv4Addr::from(a.to_ne_bytes()))
    } else {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip([a, b, c, d]) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    if port == 0 { address.to_string() } else { SocketAddr::new(address, port).to_string() }
}
