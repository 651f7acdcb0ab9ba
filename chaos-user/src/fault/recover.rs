//! `chaos heal` and `chaos status`: other processes' runs, live and dead.

use std::time::{Duration, Instant};

use chaos_common::Hook;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::journal::{ActiveFault, Record, RunState, runs, sweep};
use super::{FaultError, RuleEvidence, Undo, Undone};
use crate::host::ProcessId;
use crate::kernel::bpf::Counters;

/// What `chaos heal` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct HealReport {
    /// Live runs that were asked to end and did.
    pub ended: Vec<String>,
    /// Runs of processes that are gone, and what was undone for each.
    pub recovered: Vec<(String, Vec<String>)>,
    /// What is still there, and why.
    pub left: Vec<String>,
}

/// How long a live run gets to heal itself, and the pause between two looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What happens to live runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// They go on.
    Leave,
    /// They are asked to end.
    Ask,
    /// They are asked, and killed if they do not.
    Force,
}

/// Ends live runs (all, or the named ones) and undoes what dead ones left. Idempotent.
pub fn heal_runs(only: &[String], live: Live) -> Result<HealReport, FaultError> {
    let mut report = HealReport::default();
    let wanted = |run: &RunState| only.is_empty() || only.contains(&run.name);
    let ends: Vec<RunState> = match live {
        Live::Leave => Vec::new(),
        Live::Ask | Live::Force => {
            runs()?.into_iter().filter(|run| run.live && wanted(run)).collect()
        }
    };
    // All of them first, so that they heal at the same time.
    let asked: Vec<_> = ends.iter().map(|run| signal(run, Signal::TERM)).collect();
    for (run, asked) in ends.iter().zip(asked) {
        let ended = asked.and_then(|()| await_end(run)).or_else(|why| match live {
            Live::Force => signal(run, Signal::KILL).and_then(|()| await_end(run)),
            Live::Ask | Live::Leave => Err(why),
        });
        match ended {
            Ok(()) => report.ended.push(run.name.clone()),
            Err(why) => report.left.push(format!("run `{}`: {why}", run.name)),
        }
    }
    sweep()?;
    for run in runs()?.into_iter().filter(|run| wanted(run) && !run.live) {
        // Somebody else is at it, or it is live after all.
        let Some(_alone) = run.take()? else { continue };
        let (undone, mut failures) = replay(&run);
        failures.extend(run.damaged.iter().map(|damage| {
            format!("its journal, {damage}; what it was about is not known (`chaos doctor` looks)")
        }));
        if failures.is_empty() {
            run.forget()?;
            report.recovered.push((run.name.clone(), undone));
        }
        report.left.extend(failures.into_iter().map(|why| format!("run `{}`, {why}", run.name)));
    }
    Ok(report)
}

/// Undoes what a run left, the latest first; says what was put back, and what could not be.
pub(super) fn replay(run: &RunState) -> (Vec<String>, Vec<String>) {
    let (mut undone, mut failures) = (Vec::new(), Vec::new());
    let before_boot = run.before_boot();
    for undo in run.records.iter().rev().filter_map(Record::undo) {
        if before_boot && !undo.survives_reboot() {
            continue;
        }
        match undo.undo() {
            Ok(Undone::Nothing) => {}
            Ok(Undone::Restored(what)) => undone.push(what),
            Err(error) => failures.push(format!("{}: {error}", undo.describe())),
        }
    }
    (undone, failures)
}

/// What a dead run may have left, in words.
pub fn leftovers(run: &RunState) -> Vec<String> {
    let before_boot = run.before_boot();
    let there = |undo: &&dyn Undo| !before_boot || undo.survives_reboot();
    let undos = run.records.iter().rev().filter_map(Record::undo).filter(there);
    let mut left: Vec<String> = Vec::new();
    for text in undos.map(Undo::describe).chain(run.damaged.iter().cloned()) {
        if !left.contains(&text) {
            left.push(text);
        }
    }
    left
}

fn signal(run: &RunState, signal: Signal) -> Result<(), String> {
    let pid = run.pid().ok_or("its journal does not say which process it is")?;
    // Version 1 did not know when the process started; the lock says that it lives.
    let Some(process) = run.controller().or_else(|| ProcessId::of(pid)) else { return Ok(()) };
    // Gone: its guardian is healing.
    let Some(pidfd) = process.open() else { return Ok(()) };
    match pidfd_send_signal(&pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(format!("could not signal process {pid}: {errno}")),
    }
}

fn await_end(run: &RunState) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let same =
            |other: &RunState| other.name == run.name && other.controller() == run.controller();
        let all = runs().map_err(|error| error.to_string())?;
        if !all.iter().any(|other| other.live && same(other)) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    let pid = run.pid().unwrap_or_default();
    Err(format!("process {pid} did not end it within {} s", PATIENCE.as_secs()))
}

/// Reads the counters of another process's fault.
pub fn live_counters(fault: &ActiveFault) -> Result<Vec<RuleEvidence>, FaultError> {
    let counters = Counters::by_id(fault.counter_maps)?;
    let hooks = counters.hooks()?;
    fault
        .rules
        .iter()
        .map(|rule| {
            let own = counters.rule(rule.slot)?;
            let looked_at =
                Hook::ALL.iter().filter(|hook| rule.hooks.contains(&(hook.index() as u32)));
            Ok(RuleEvidence {
                rule: rule.name.clone(),
                seen: looked_at.map(|&hook| hooks.hook(hook).seen).sum(),
                matched: own.matched,
                acted: own.acted,
                bytes: own.bytes,
            })
        })
        .collect()
}
