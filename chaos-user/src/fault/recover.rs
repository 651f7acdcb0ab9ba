//! `chaos heal` and `chaos status`: other processes' runs, live and dead.

use std::time::{Duration, Instant};

use chaos_common::Hook;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::pidfd_send_signal;

use super::journal::{ActiveFault, Record, RunState, runs, sweep};
use super::{FaultError, RuleEvidence, Undone};
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

/// How long a live run gets to heal itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends live runs (all, or the named ones) and undoes what dead ones left. Idempotent.
pub fn heal_runs(only: &[String], leave_live: bool) -> Result<HealReport, FaultError> {
    let mut report = HealReport::default();
    let wanted = |run: &RunState| only.is_empty() || only.contains(&run.name);
    for run in runs()?.into_iter().filter(wanted) {
        if run.live && !leave_live {
            match end_live(&run) {
                Ok(()) => report.ended.push(run.name.clone()),
                Err(why) => report.left.push(format!("run `{}`: {why}", run.name)),
            }
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

fn end_live(run: &RunState) -> Result<(), String> {
    let pid = run.pid().ok_or("its journal does not say which process it is")?;
    let asked = match run.controller() {
        Some(controller) => match controller.open() {
            Some(pidfd) => pidfd_send_signal(&pidfd, rustix::process::Signal::TERM)
                .map_err(|errno| Errno::from_raw(errno.raw_os_error())),
            // Its guardian is healing.
            None => Ok(()),
        },
        None => kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM),
    };
    asked.map_err(|errno| format!("could not ask process {pid} to end it: {}", errno.desc()))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let still_live = runs()
            .map_err(|error| error.to_string())?
            .iter()
            .any(|other| other.name == run.name && other.live);
        if !still_live {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
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
