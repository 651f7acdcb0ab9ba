use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use chaos_ebpf_build::Layout;
use clap::Args;
use serde::Deserialize;

use super::Task;
use super::build::build_release;
use crate::privilege::Privilege;

/// Run every defect of the marketplace against the scenarios, and write docs/defects.md
///
/// By default each defect meets the scenarios that have to catch it; `--all` runs every defect
/// against every scenario, which takes about twenty minutes with `--jobs 4`. Fails if a defect is
/// not caught, if it turns any other scenario red, or if the healthy marketplace does not pass.
#[derive(Debug, Args)]
pub(crate) struct Matrix {
    /// Every defect against every scenario
    #[arg(long)]
    all: bool,
    /// Labs at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only defects with this in their name
    #[arg(long)]
    only: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Defect {
    name: String,
    what: String,
    caught_by: Vec<String>,
    by_chance: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Run {
    verdict: String,
    because: String,
}

type Results = BTreeMap<(String, String), Run>;

/// What stands for no defect at all.
const HEALTHY: &str = "healthy";

impl Task for Matrix {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let chaos = build_release(layout)?;
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        let defects = defects(&chaos.with_file_name("marketplace"))?;
        let scenarios = scenarios(&layout.root().join("experiments"))?;
        let mut cases: Vec<(String, String)> =
            scenarios.iter().map(|scenario| (HEALTHY.to_owned(), scenario.clone())).collect();
        let wanted =
            |defect: &&Defect| self.only.as_ref().is_none_or(|part| defect.name.contains(part));
        for defect in defects.iter().filter(wanted) {
            let against = |scenario: &&String| self.all || defect.caught_by.contains(*scenario);
            let chosen = scenarios.iter().filter(against);
            cases.extend(chosen.map(|scenario| (defect.name.clone(), scenario.clone())));
        }
        let place = layout.target().join("xtask/matrix");
        let results = Mutex::new(Results::new());
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some((defect, scenario)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let run = one(layout, &privilege, &chaos, &place, (defect, scenario))?;
                println!("{defect} × {scenario}: {} ({})", run.verdict, run.because);
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.insert((defect.clone(), scenario.clone()), run);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(outcome) => outcome,
                Err(_) => anyhow::bail!("a worker panicked"),
            })
        })?;
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if self.only.is_none() {
            let path = layout.root().join("docs/defects.md");
            std::fs::write(&path, table(&defects, &scenarios, &results))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let wrong = wrong(&defects, &results);
        for line in &wrong {
            println!("NOT AS IT SHOULD BE: {line}");
        }
        println!("{} runs, {} not as they should be", results.len(), wrong.len());
        Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn defects(marketplace: &Path) -> Result<Vec<Defect>> {
    let done = std::process::Command::new(marketplace)
        .args(["defects", "--json"])
        .output()
        .with_context(|| format!("cannot start {}", marketplace.display()))?;
    serde_json::from_slice(&done.stdout).context("its list of defects is not understood")
}

fn scenarios(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yaml")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "there are no experiments in {}", folder.display());
    Ok(names)
}

fn one(
    layout: &Layout,
    privilege: &Privilege,
    chaos: &Path,
    place: &Path,
    (defect, scenario): (&str, &str),
) -> Result<Run> {
    let file: PathBuf = layout.root().join(format!("experiments/{scenario}.yaml"));
    // sudo would drop the variables of this process: `env` sets them behind it.
    let mut command = privilege.command(Path::new("/usr/bin/env"))?;
    command.current_dir(layout.root()).stdin(Stdio::null()).stderr(Stdio::null());
    let state = place.join(format!("state-{defect}-{scenario}"));
    command.arg(format!("CHAOS_STATE_DIR={}", state.display()));
    if defect != HEALTHY {
        command.arg(format!("MARKETPLACE_DEFECTS={defect}"));
    }
    command.arg(chaos).args(["run", "--json", "--output"]).arg(place.join("results")).arg(file);
    let done = command.output().context("cannot start chaos")?;
    let runs: Vec<Run> = serde_json::from_slice(&done.stdout)
        .with_context(|| format!("{defect} × {scenario}: no findings"))?;
    runs.into_iter().next().with_context(|| format!("{defect} × {scenario}: no findings"))
}

/// What is not as the catalogue says.
fn wrong(defects: &[Defect], results: &Results) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((name, scenario), run) in results {
        let defect = defects.iter().find(|defect| defect.name == *name);
        if defect.is_some_and(|defect| defect.by_chance.contains(scenario)) {
            continue;
        }
        let should_fail = defect.is_some_and(|defect| defect.caught_by.contains(scenario));
        if run.verdict != if should_fail { "FAIL" } else { "PASS" } {
            wrong.push(format!("{name} × {scenario}: {} ({})", run.verdict, run.because));
        }
    }
    wrong
}

fn table(defects: &[Defect], scenarios: &[String], results: &Results) -> String {
    let mut text = String::from(
        "# Defects and what catches them\n\n\
         Written by `cargo xtask matrix`. Each line is a way in which the reference marketplace can be \
         wrong.\n**FAIL** is where a scenario has to go red and did; PASS, where it has to stay green and \
         did; what\nis in brackets is a matter of chance, because requests have to meet for it; an empty \
         cell was not run\n(`cargo xtask matrix --all` runs all).\n\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| defect | {} | what is wrong |", scenarios.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(scenarios.len()));
    let mut line = |name: &str, what: &str, caught_by: &[String], by_chance: &[String]| {
        let _ = write!(text, "| `{name}` |");
        for scenario in scenarios {
            let run = results.get(&(name.to_owned(), scenario.clone()));
            let cell = match run {
                None => String::new(),
                Some(run) if caught_by.contains(scenario) => format!("**{}**", run.verdict),
                Some(run) if by_chance.contains(scenario) => format!("({})", run.verdict),
                Some(run) => run.verdict.clone(),
            };
            let _ = write!(text, " {cell} |");
        }
        let _ = writeln!(text, " {what} |");
    };
    line(HEALTHY, "Nothing.", &[], &[]);
    for defect in defects {
        line(&defect.name, &defect.what, &defect.caught_by, &defect.by_chance);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: &str) -> Run {
        Run { verdict: verdict.to_owned(), because: "of something".to_owned() }
    }

    #[test]
    fn what_is_not_caught_is_told_and_what_is_stands_out() {
        let defects = [Defect {
            name: "no-rollback".to_owned(),
            what: "It stays half-way.".to_owned(),
            caught_by: vec!["rpc".to_owned()],
            by_chance: vec!["disputes".to_owned()],
        }];
        let scenarios = ["pool".to_owned(), "rpc".to_owned()];
        let key = |defect: &str, scenario: &str| (defect.to_owned(), scenario.to_owned());
        let mut results = Results::from([
            (key("healthy", "rpc"), run("PASS")),
            (key("no-rollback", "rpc"), run("FAIL")),
            (key("no-rollback", "pool"), run("PASS")),
            (key("no-rollback", "disputes"), run("INCONCLUSIVE")),
        ]);
        assert_eq!(wrong(&defects, &results), [""; 0]);
        let text = table(&defects, &scenarios, &results);
        assert!(
            text.contains("| `no-rollback` | PASS | **FAIL** | It stays half-way. |"),
            "{text}"
        );
        assert!(text.contains("| `healthy` |  | PASS | Nothing. |"), "{text}");
        results.insert(key("healthy", "pool"), run("INCONCLUSIVE"));
        results.insert(key("no-rollback", "rpc"), run("PASS"));
        results.insert(key("no-rollback", "pool"), run("FAIL"));
        assert_eq!(wrong(&defects, &results).len(), 3);
    }
}
