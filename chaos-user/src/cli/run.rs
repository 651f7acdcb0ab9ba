//! `chaos run`.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use nix::sys::utsname::uname;

use super::UsageError;
use super::experiments::{Found, find, folder_of, known, load};
use super::guards::{GuardArgs, Guards};
use super::history::metrics;
use super::live::Live;
use super::output::{complain, out, say};
use crate::exit::Exit;
use crate::experiment::{Experiment, FaultWork, Provider};
use crate::fault::{Busy, Journal, RunScope, ScopeError, ScopeLock, Sharing};
use crate::guard::Extent;
use crate::history::{History, Record, Summary};
use crate::host::check_capabilities;
use crate::kernel::netns::NetNs;
use crate::lab::{Lab, LabOptions};
use crate::report::{Tally, html, journal, json, junit, markdown, terminal};
use crate::run::{
    Clock as _, EventLog, Interrupt, LabWorld, Namespaces, Options, RunFolder, SystemClock,
    Trouble, Values, conduct,
};
use crate::verdict::{Findings, Verdict, judge};

/// Run experiments and judge them
///
/// Each run: the steady state must hold, the method injects its faults, the system must recover by
/// itself, rollbacks are run, invariants are checked, everything is put back. A verdict is PASS only
/// with proof that the fault acted. Ctrl-C heals everything and exits 3.
///
/// Each run has a folder with its event log (events.jsonl), from which `chaos report` computes the
/// verdict and all reports again.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Experiment files, names that `chaos list` shows, or `all`
    #[arg(required_unless_present = "unless_named", value_name = "FILE|NAME|all")]
    experiments: Vec<String>,
    /// What to run if no experiments are named; for programs that hand options through
    #[arg(long, hide = true, value_name = "FILE|NAME|all")]
    unless_named: Vec<String>,
    /// The folder that folders of runs are made in
    #[arg(long, value_name = "DIR", default_value = "chaos-results")]
    output: PathBuf,
    /// Seed every random decision, to repeat a run
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    guards: GuardArgs,
    /// Print nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Print the findings of all runs as one JSON array instead of text
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut found = Vec::new();
        let named =
            if self.experiments.is_empty() { &self.unless_named } else { &self.experiments };
        for given in named {
            let files = if given == "all" { known() } else { vec![find(given)?] };
            if files.is_empty() {
                return Err(UsageError("there are no experiments in ./experiments".into()).into());
            }
            for (name, path) in files {
                found.push(load(name, path)?);
            }
        }
        if found.iter().any(|one| one.lab.is_some() || one.experiment.changes_anything()) {
            check_capabilities()?;
        }
        let guards = self.guards.read()?;
        let interrupt = Interrupt::listen().context("listen to signals")?;
        let mut tally = Tally::default();
        let (mut all, mut records) = (Vec::new(), Vec::new());
        let history = History::of(&self.output);
        for (at, one) in found.iter().enumerate() {
            if interrupt.asked() {
                break;
            }
            let live = Live::new(&one.name, (at + 1, found.len()), self.quiet || self.json);
            let (findings, folder) = self.one(one, &guards, &interrupt, &live)?;
            drop(live);
            let name = folder.path().file_name().unwrap_or_default();
            let record = Record::of(&findings, name.to_string_lossy().into_owned());
            if let Err(error) = history.add(&record) {
                // The run itself is recorded in its folder.
                complain(&format!("chaos: {error}"));
            }
            records.push(record);
            tally.add(&findings);
            if !self.json {
                out(&terminal(&findings));
                say(&format!("  full result in {}", folder.path().display()));
                out("\n");
            }
            all.push(findings);
        }
        if self.json {
            say(&serde_json::to_string_pretty(&all)?);
        } else {
            say(&tally.to_string());
            out(&metrics(&Summary::of(&records)));
            let failed = all.iter().filter(|one| one.verdict != Verdict::Pass);
            for one in failed {
                say(&format!("{} was {}: {}", one.name, one.verdict, one.because));
            }
            if all.iter().any(|one| one.verdict != Verdict::Pass) {
                say("docs/experiments.md says how to read and repeat a run.");
            }
        }
        Ok(tally.exit().into())
    }

    fn one(
        &self,
        found: &Found,
        guards: &Guards,
        interrupt: &Interrupt,
        live: &Live,
    ) -> anyhow::Result<(Findings, RunFolder)> {
        let clock = SystemClock::start();
        let folder = RunFolder::below(&self.output, &clock.wall(), &found.name)?;
        let base = folder_of(&found.path);
        let experiment = &found.experiment;
        let values = Values::resolve(&experiment.configuration, &experiment.secrets, &base)
            .map_err(|error| UsageError(format!("{}: {error}", found.path.display())))?;
        let namespaces = Namespaces::open(&experiment.namespaces, &values.variables)
            .map_err(|error| UsageError(format!("{}: {error}", found.path.display())))?;
        let nodes = found.lab.as_ref().map_or(namespaces.len(), |lab| lab.nodes().len());
        let extent = Extent::of(experiment, nodes);
        let (mut clearance, protect) =
            guards.ask(experiment.environment.as_ref(), Some(&experiment.guards), &extent);
        // Kept until the run is over. What is not allowed touches nothing, not even a lock.
        let mut _lock = None;
        if clearance.is_ok() {
            match lock(experiment, &namespaces).context("keep other runs away")? {
                Ok(lock) => _lock = Some(lock),
                Err(busy) => clearance = Err(vec![busy.to_string()]),
            }
        }
        let host = uname().context("ask the kernel for its name")?;
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        let options = Options {
            name: found.name.clone(),
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one(0)),
            host: text(host.nodename()),
            platform: format!("{} {}", text(host.sysname()), text(host.release())),
            interrupt: interrupt.clone(),
            clearance,
        };
        let observer = |event: &crate::run::Event| live.event(event);
        let log = EventLog::new(
            &clock,
            values.variables.redactor().clone(),
            Some(folder.log()?),
            &observer,
        );
        let target = experiment.target.iter();
        let target = target.map(|(key, value)| (format!("target.{key}"), value.clone().into()));
        let variables = values.variables.clone().with(target);
        let make = || {
            let journal = guarded(found, interrupt)?;
            let lab = bring_up(found, folder.path(), interrupt)?;
            let world = LabWorld::new(lab, variables, base, journal, options.seed)?
                .in_namespaces(namespaces)?
                .with_logs(&experiment.logs);
            Ok(world.watching(experiment, folder.path())?.protecting(protect))
        };
        conduct(experiment, make, &log, &options);
        let events = log.finish().context("write the event log")?;
        let findings = judge(&events).context("the run left no events")?;
        folder.write("report.txt", &terminal(&findings))?;
        folder.write("report.json", &json(&findings)?)?;
        folder.write("report.md", &markdown(&findings))?;
        folder
            .write("report.html", &html(&events, &findings).context("the run left no events")?)?;
        folder.write("junit.xml", &junit(std::slice::from_ref(&findings))?)?;
        let journal = serde_json::to_string_pretty(&journal(&events, &findings))?;
        folder.write("journal.json", &(journal + "\n"))?;
        Ok((findings, folder))
    }
}

/// The journal and the guardian of a run that changes anything.
fn guarded(found: &Found, interrupt: &Interrupt) -> Result<Option<Journal>, Trouble> {
    if found.lab.is_none() && !found.experiment.changes_anything() {
        return Ok(None);
    }
    // Runs of the same experiment at the same time are told apart by their process.
    let run = format!("{}-{}", found.name, std::process::id());
    let interrupt = interrupt.clone();
    let journal = Journal::guarded(&run, move |why| interrupt.ask_because(why));
    journal.map(Some).map_err(|error| Trouble::tool(&error))
}

/// Takes what the experiment changes on this host and in namespaces of others; its lab is its own.
fn lock(
    experiment: &Experiment,
    namespaces: &Namespaces,
) -> anyhow::Result<Result<ScopeLock, Busy>> {
    let activities = experiment.method.iter().chain(&experiment.recovery_steps);
    let mut scopes = Vec::new();
    for activity in activities {
        let Provider::Fault(fault) = &activity.provider else { continue };
        match &fault.work {
            FaultWork::Network(spec) => {
                if spec.nodes.is_empty() {
                    scopes.extend(RunScope::of(&NetNs::of_this_process()?, &spec.devices));
                }
                for netns in spec.nodes.iter().filter_map(|node| namespaces.netns(node)) {
                    scopes.extend(RunScope::of(netns, &spec.devices));
                }
            }
            FaultWork::Netem(spec) if spec.node.is_none() => {
                let here = NetNs::of_this_process()?;
                let root = |device: &String| RunScope::root_qdisc(&here, device);
                scopes.extend(spec.devices.iter().map(root));
            }
            _ => {}
        }
    }
    if scopes.is_empty() {
        return Ok(Ok(ScopeLock::none()));
    }
    match ScopeLock::take(&scopes, Sharing::Alone) {
        Ok(lock) => Ok(Ok(lock)),
        Err(ScopeError::Busy(busy)) => Ok(Err(busy)),
        Err(ScopeError::Journal(error)) => Err(error.into()),
    }
}

fn bring_up(found: &Found, folder: &Path, interrupt: &Interrupt) -> Result<Option<Lab>, Trouble> {
    let (Some(spec), Some(file)) = (&found.lab, &found.experiment.lab) else { return Ok(None) };
    let file = folder_of(&found.path).join(file);
    let mut options = LabOptions::new(folder.join("lab"));
    options.keep_files = true;
    options.base = folder_of(&file);
    let lab = Lab::up_watched(spec, options, &mut |_| {
        if interrupt.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    lab.map(Some).map_err(|error| Trouble::new(&error, Exit::ToolFailed))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn what_to_run_unless_named_gives_way_to_names() {
        let line = |arguments: &[&str]| {
            let all = ["run"].iter().chain(arguments);
            Line::try_parse_from(all).map(|line| (line.run.experiments, line.run.unless_named))
        };
        let none: [String; 0] = [];
        // A value of an option is no name.
        let (named, others) = line(&["--unless-named=all", "--seed", "7"]).unwrap();
        assert_eq!((named.as_slice(), others), (none.as_slice(), vec!["all".to_owned()]));
        let (named, _) = line(&["--unless-named=all", "--seed", "7", "disk"]).unwrap();
        assert_eq!(named, ["disk"]);
        assert!(line(&["--seed", "7"]).is_err());
    }
}
