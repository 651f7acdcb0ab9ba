//! A checked experiment.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use super::activity::Activity;
use super::check;
use super::document::ExperimentDocument;
use super::error::ExperimentError;
use super::provider::Provider;
use super::references;
use super::service::DOCKER_SOCKET;
use super::units::Span;
use super::yaml;
use crate::guard::{Environment, Rules};

/// An experiment that makes sense as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// What it is about.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Values for `${name}`, not yet read from the environment.
    pub configuration: IndexMap<String, Value>,
    /// Values for `${name}` that are never shown, not yet read from the environment.
    pub secrets: IndexMap<String, Value>,
    /// The lab it runs in, relative to the experiment's file.
    pub lab: Option<PathBuf>,
    /// How to reach and control the system: what `${target.KEY}` stands for.
    pub target: IndexMap<String, String>,
    /// Network namespaces that exist already and are nodes: by name, where each is.
    pub namespaces: IndexMap<String, String>,
    /// Files that the system logs to, relative to the experiment's file.
    pub logs: Vec<String>,
    /// What holds while all is well.
    pub hypothesis: Option<Hypothesis>,
    /// What is done, in order.
    pub method: Vec<Activity>,
    /// What is done at the end in any case.
    pub rollbacks: Vec<Activity>,
    /// What is expected to hold at the very end.
    pub invariants: Vec<Activity>,
    /// What ends the run at once when it does not hold.
    pub safeguards: Vec<Activity>,
    /// The kind of place it is for.
    pub environment: Option<Environment>,
    /// What it allows itself.
    pub guards: Rules,
    /// How it has to recover.
    pub recovery: Recovery,
    /// What a person would do, in order, if it does not recover by itself.
    pub recovery_steps: Vec<Activity>,
    /// When what is done.
    pub runtime: Runtime,
    /// The whole file as data, for journals.
    pub source: Value,
}

/// What holds while all is well.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// In words.
    pub title: String,
    /// In probes.
    pub probes: Vec<Activity>,
}

/// How the system has to recover after the last fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The longest time until the steady state holds again.
    pub within: Span,
    /// How long it has to hold then to count.
    pub stable: Span,
}

/// When what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Whether rollbacks are run.
    pub rollbacks: RollbackStrategy,
    /// When the steady state is looked at.
    pub hypothesis: HypothesisStrategy,
    /// The pause between two looks of the same probe.
    pub frequency: Span,
    /// Whether the first deviation under a fault ends the method (in an experiment without a fault,
    /// the first while it runs).
    pub fail_fast: bool,
}

/// Whether rollbacks are run; the names are the Chaos Toolkit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackStrategy {
    /// In any case. This tool's default.
    Always,
    /// Unless the method failed or was interrupted.
    Default,
    /// Never.
    Never,
    /// Only when the steady state deviated.
    Deviated,
}

/// When the steady state is looked at; the names are the Chaos Toolkit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HypothesisStrategy {
    /// Before and after the method.
    Default,
    /// Before it.
    BeforeOnly,
    /// After it.
    AfterOnly,
    /// While it runs.
    DuringOnly,
    /// Before, while and after.
    Continuously,
    /// Not at all.
    Skip,
}

impl HypothesisStrategy {
    /// Whether the method waits for the steady state to hold.
    pub const fn before(self) -> bool {
        matches!(self, Self::Default | Self::BeforeOnly | Self::Continuously)
    }

    /// Whether it is looked at while the method runs.
    pub const fn during(self) -> bool {
        matches!(self, Self::DuringOnly | Self::Continuously)
    }

    /// Whether it is looked at after the method.
    pub const fn after(self) -> bool {
        matches!(self, Self::Default | Self::AfterOnly | Self::Continuously)
    }
}

impl Experiment {
    /// Reads and checks the text of an experiment; `file` is the name that errors give it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ExperimentError> {
        let failed =
            |error: &serde_saphyr::Error| ExperimentError::from_yaml(error, file.to_owned());
        let document: ExperimentDocument = yaml::read(text).map_err(|error| failed(&error))?;
        let source = yaml::read(text).map_err(|error| failed(&error))?;
        let texts = yaml::read(text).map_err(|error| failed(&error))?;
        let checked = check::check(document, source).and_then(|experiment| {
            references::check(&texts, &experiment.target).map(|()| experiment)
        });
        checked.map_err(|(place, problem)| ExperimentError {
            file: file.to_owned(),
            place,
            problem: Box::new(problem),
        })
    }

    /// The container that it is about: its name or id, and the engine's socket.
    pub fn container(&self) -> Option<(&str, &str)> {
        let name = self.target.get("container")?;
        Some((name, self.target.get("socket").map_or(DOCKER_SOCKET, String::as_str)))
    }

    /// Everything that has a name: probes, actions, rollbacks, invariants, safeguards.
    pub fn activities(&self) -> impl Iterator<Item = &Activity> {
        let probes = self.hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes);
        let others = self.rollbacks.iter().chain(&self.invariants).chain(&self.recovery_steps);
        let others = others.chain(&self.safeguards);
        probes.chain(&self.method).chain(others)
    }

    /// Whether it injects a fault of this tool's own.
    pub fn has_fault(&self) -> bool {
        self.method.iter().any(|activity| matches!(activity.provider, Provider::Fault(_)))
    }

    /// Whether anything in it changes what is there: a fault, or what repairs one.
    pub fn changes_anything(&self) -> bool {
        self.activities().any(|activity| matches!(activity.provider, Provider::Fault(_)))
    }

    /// Checks every node that is named against those that there are.
    pub fn check_nodes(&self, file: &Path, known: &[String]) -> Result<(), ExperimentError> {
        check::nodes(self, known).map_err(|(place, problem)| ExperimentError {
            file: file.to_owned(),
            place,
            problem: Box::new(problem),
        })
    }
}
