//! From what is written to what is meant.

mod activity;
mod asked;
mod detour;
mod disk;
mod disk_error;
mod fault;
mod group;
mod named;
mod namespaces;
mod netem;
mod observe;
mod pressure;
mod provider;
mod service;
mod subject;
mod tolerance;
mod value;
mod workload;

use std::collections::BTreeSet;

use serde_json::Value;
use serde_saphyr::Spanned;

use self::activity::Context;
use super::activity::{Activity, Kind, Phases};
use super::document::{ActivityDocument, ExperimentDocument, RuntimeDocument};
use super::error::{Place, Problem};
use super::fault::{DiskErrorSpec, DiskFillSpec, DiskPlace, FaultWork};
use super::model::{
    Experiment, Hypothesis, HypothesisStrategy, Recovery, RollbackStrategy, Runtime,
};
use super::observe::{LogCall, LogSource};
use super::pressure::{Confined, PressureSpec};
use super::provider::Provider;
use super::subject::{DescriptorsSpec, Subject};
use super::units::{Span, nearest};
use crate::guard::Rules;

/// A problem and where it is.
pub(super) type Failed = (Place, Problem);

/// How long a system may take to recover unless the experiment says otherwise.
const RECOVERY_WITHIN: Span = Span::from_secs(30);
/// How long the steady state has to hold to count as recovered.
const RECOVERY_STABLE: Span = Span::from_ms(500);
/// The pause between two looks while a fault of this tool's own is active.
const FREQUENCY: Span = Span::from_ms(200);
/// The pause that the Chaos Toolkit makes between two looks.
const TOOLKIT_FREQUENCY: Span = Span::from_secs(1);

pub(super) fn check(document: ExperimentDocument, source: Value) -> Result<Experiment, Failed> {
    let top = Place { line: 1, column: 1 };
    if let Some(controls) = &document.controls
        && !controls.value.is_empty()
    {
        return Err((controls.referenced.into(), Problem::Controls));
    }
    let missing =
        |key, purpose| (top, Problem::Missing { what: "an experiment".into(), key, purpose });
    let title = document.title.as_ref().filter(|title| !title.value.trim().is_empty());
    let title = title.ok_or_else(|| missing("title", "what it is about in one line"))?;
    let Some(method) = &document.method else {
        return Err(missing("method", "a list of actions and probes, which may be empty"));
    };

    let target = document.target.unwrap_or_default();
    let (values, logs) = (target.values(), target.logs.clone());
    let in_lab = document.lab.is_some();
    let namespaces = namespaces::namespaces(target.namespaces.as_ref(), in_lab)?;
    let context = Context {
        in_lab,
        has_nodes: in_lab || !namespaces.is_empty(),
        target,
        all: referable(document.hypothesis.as_ref().map(|h| h.value.probes.as_slice()), method),
    };
    let list = |documents: &[Spanned<ActivityDocument>], role| {
        documents
            .iter()
            .map(|document| activity::activity(&context, document, role))
            .collect::<Result<Vec<_>, Failed>>()
    };
    let hypothesis = match &document.hypothesis {
        None => None,
        Some(hypothesis) => {
            let title = hypothesis.value.title.as_ref();
            let title = title.ok_or((
                Place::from(hypothesis.referenced),
                Problem::Missing {
                    what: "the steady-state hypothesis".into(),
                    key: "title",
                    purpose: "what holds, in one line",
                },
            ))?;
            let probes = list(&hypothesis.value.probes, activity::Role::SteadyState)?;
            Some(Hypothesis { title: title.value.clone(), probes })
        }
    };
    let mut method =
        group::method(method, |one| activity::activity(&context, one, activity::Role::Method))?;
    workload::place_beside(&mut method)?;
    let rollbacks = list(&document.rollbacks, activity::Role::Rollback)?;
    let invariants = list(&document.invariants, activity::Role::Invariant)?;
    let recovery_steps = list(&document.recovery.steps, activity::Role::Recovery)?;
    let safeguards = list(&document.safeguards, activity::Role::Safeguard)?;
    let environment = match &document.environment {
        None => None,
        Some(name) => {
            let read = name.value.parse();
            Some(read.map_err(|why| (name.referenced.into(), Problem::Refused(why)))?)
        }
    };
    let guards = match document.guards {
        None => Rules::default(),
        Some(guards) => guards.value.check()?,
    };

    let own = document.lab.is_some()
        || method.iter().any(|activity| matches!(activity.provider, Provider::Fault(_)));
    let experiment = Experiment {
        title: title.value.clone(),
        description: document.description.map_or_else(String::new, |text| text.value),
        tags: document.tags,
        configuration: document.configuration,
        secrets: document.secrets,
        lab: document.lab.map(|lab| lab.value.into()),
        runtime: runtime(&document.runtime, own)?,
        recovery: Recovery {
            within: document.recovery.within.unwrap_or(RECOVERY_WITHIN),
            stable: document.recovery.stable.unwrap_or(RECOVERY_STABLE),
        },
        target: values,
        namespaces,
        logs,
        recovery_steps,
        hypothesis,
        method,
        rollbacks,
        invariants,
        safeguards,
        environment,
        guards,
        source,
    };
    unique_names(&experiment)?;
    if !experiment.has_fault()
        && let Some(probe) = experiment.activities().find(|one| one.during != Phases::ALL)
    {
        let why = "`during` tells the phases of a fault apart, but the method injects none";
        return Err((probe.place, Problem::Pointless(why)));
    }
    Ok(experiment)
}

/// Probes and actions that `ref` may name.
fn referable<'a>(
    probes: Option<&'a [Spanned<ActivityDocument>]>,
    method: &'a [Spanned<ActivityDocument>],
) -> Vec<&'a Spanned<ActivityDocument>> {
    let all = probes.unwrap_or_default().iter().chain(method.iter().flat_map(group::members));
    all.filter(|document| document.value.reference.is_none()).collect()
}

/// Results are told apart by name; only a `ref` repeats one.
fn unique_names(experiment: &Experiment) -> Result<(), Failed> {
    let mut seen = BTreeSet::new();
    let mut places = BTreeSet::new();
    for activity in experiment.activities() {
        let place = (activity.place.line, activity.place.column);
        if places.insert(place) && !seen.insert(&activity.name) && experiment.has_fault() {
            return Err((activity.place, Problem::Twice { name: activity.name.clone() }));
        }
    }
    Ok(())
}

fn runtime(document: &RuntimeDocument, own: bool) -> Result<Runtime, Failed> {
    let mut runtime = Runtime {
        rollbacks: RollbackStrategy::Always,
        hypothesis: HypothesisStrategy::Default,
        frequency: if own { FREQUENCY } else { TOOLKIT_FREQUENCY },
        fail_fast: false,
    };
    if own {
        runtime.hypothesis = HypothesisStrategy::Continuously;
    }
    if let Some(strategy) = document.rollbacks.as_ref().and_then(|d| d.strategy.as_ref()) {
        runtime.rollbacks = value::word(
            strategy,
            "a rollback strategy",
            &[
                ("always", RollbackStrategy::Always),
                ("default", RollbackStrategy::Default),
                ("never", RollbackStrategy::Never),
                ("deviated", RollbackStrategy::Deviated),
            ],
        )?;
    }
    if let Some(hypothesis) = &document.hypothesis {
        if let Some(strategy) = &hypothesis.strategy {
            runtime.hypothesis = value::word(
                strategy,
                "a hypothesis strategy",
                &[
                    ("default", HypothesisStrategy::Default),
                    ("before-method-only", HypothesisStrategy::BeforeOnly),
                    ("after-method-only", HypothesisStrategy::AfterOnly),
                    ("during-method-only", HypothesisStrategy::DuringOnly),
                    ("continuously", HypothesisStrategy::Continuously),
                    ("skip", HypothesisStrategy::Skip),
                ],
            )?;
        }
        if let Some(frequency) = &hypothesis.frequency {
            runtime.frequency = value::span(frequency, "`frequency`")?;
        }
        if let Some(fail_fast) = &hypothesis.fail_fast {
            runtime.fail_fast = fail_fast.value;
            if runtime.fail_fast && !runtime.hypothesis.during() {
                let why = "`fail_fast` needs looks while the method runs: the strategy \
                           `continuously` or `during-method-only`";
                return Err((fail_fast.referenced.into(), Problem::Pointless(why)));
            }
        }
    }
    Ok(runtime)
}

/// Every node that is named exists.
pub(super) fn nodes(experiment: &Experiment, known: &[String]) -> Result<(), Failed> {
    for activity in experiment.activities() {
        let named = match &activity.provider {
            Provider::Fault(fault) => match &fault.work {
                FaultWork::Network(spec) => spec.nodes.iter().chain(&spec.remote_nodes).collect(),
                FaultWork::Process(target, _)
                | FaultWork::DiskFill(DiskFillSpec { place: DiskPlace::Data(target), .. })
                | FaultWork::DiskError(DiskErrorSpec { place: DiskPlace::Data(target), .. }) => {
                    vec![&target.node]
                }
                FaultWork::Workload(spec) => match &spec.watch {
                    Some(Subject::Process(target)) => vec![&target.node],
                    _ => Vec::new(),
                },
                FaultWork::Descriptors(DescriptorsSpec { subject, .. })
                | FaultWork::Pressure(PressureSpec {
                    confined: Confined::Subject(subject), ..
                }) => match subject {
                    Subject::Process(target) => vec![&target.node],
                    Subject::Service(_) | Subject::PidFile(_) => Vec::new(),
                },
                FaultWork::DiskFill(_)
                | FaultWork::DiskError(_)
                | FaultWork::Service(..)
                | FaultWork::Pressure(_) => Vec::new(),
                FaultWork::Netem(spec) => spec.node.iter().collect(),
            },
            Provider::Log(LogCall { source: LogSource::Process(target), .. })
            | Provider::Procfs(Subject::Process(target)) => vec![&target.node],
            _ => Vec::new(),
        };
        for node in named.into_iter().chain(&activity.from) {
            if !known.contains(node) {
                let nearest = nearest(node, known.iter().map(String::as_str));
                let problem = Problem::UnknownNode {
                    node: node.clone(),
                    nearest: nearest.map(ToOwned::to_owned),
                    known: known.to_vec(),
                };
                return Err((activity.place, problem));
            }
        }
    }
    Ok(())
}

/// Kept here so that the roles of activities agree on what they default to.
fn default_kind(role: activity::Role) -> Option<Kind> {
    match role {
        activity::Role::SteadyState | activity::Role::Invariant | activity::Role::Safeguard => {
            Some(Kind::Probe)
        }
        activity::Role::Rollback | activity::Role::Recovery => Some(Kind::Action),
        activity::Role::Method => None,
    }
}

/// What every check of an activity returns.
pub(super) type Checked = Result<Activity, Failed>;
