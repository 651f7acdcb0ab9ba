//! Probes and actions.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::{Checked, Failed, asked, default_kind, provider, value};
use crate::experiment::activity::{Activity, Kind, Pauses, Phases};
use crate::experiment::document::{ActivityDocument, TargetDocument};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::{FaultSpec, FaultWork, ProcessAct};
use crate::experiment::provider::Provider;
use crate::experiment::tolerance::Tolerance;
use crate::experiment::units::{Span, nearest};

/// What an activity stands in.
pub(super) struct Context<'a> {
    /// Whether there are processes of a lab.
    pub(super) in_lab: bool,
    /// Whether there are nodes: those of a lab, or namespaces.
    pub(super) has_nodes: bool,
    pub(super) target: TargetDocument,
    pub(super) all: Vec<&'a Spanned<ActivityDocument>>,
}

/// Which list an activity is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    SteadyState,
    Method,
    Rollback,
    Recovery,
    Invariant,
    Safeguard,
}

pub(super) fn activity(
    context: &Context<'_>,
    document: &Spanned<ActivityDocument>,
    role: Role,
) -> Checked {
    let document = resolve(context, document)?;
    let place = Place::from(document.referenced);
    let document = &document.value;
    if let Some(controls) = &document.controls
        && !controls.value.is_empty()
    {
        return Err((controls.referenced.into(), Problem::Controls));
    }
    if document.parallel.is_some() {
        let why = "`parallel` belongs into the method";
        return Err((place, Problem::Pointless(why)));
    }
    let missing = |key, purpose| {
        let what = document.name.as_ref().map_or_else(
            || "an activity".to_owned(),
            |name| format!("the activity `{}`", name.value),
        );
        (place, Problem::Missing { what, key, purpose })
    };
    let name = document.name.as_ref().filter(|name| !name.value.trim().is_empty());
    let name = name.ok_or_else(|| missing("name", "by which its results are told apart"))?;
    let kinds = [("probe", Kind::Probe), ("action", Kind::Action)];
    let kind = match &document.kind {
        Some(kind) => value::word(kind, "a type of activity", &kinds)?,
        None => default_kind(role).ok_or_else(|| missing("type", "`probe` or `action`"))?,
    };
    let written =
        document.provider.as_ref().ok_or_else(|| missing("provider", "which says what to do"))?;
    let provider =
        provider::provider(context, written, document.timeout.as_ref(), document.from.as_ref())?;
    let is_fault = matches!(provider, Provider::Fault(_));
    // What is over as soon as it is done can be a manual step, and a rollback.
    let repairs = matches!(role, Role::Recovery | Role::Rollback);
    let step =
        repairs && matches!(&provider, Provider::Fault(fault) if fault.duration == Span::ZERO);
    if is_fault && (kind == Kind::Probe || role != Role::Method) && !step {
        let why = "a fault is an action of the method; it heals itself (a manual step of `recovery` \
                   or a rollback may be a `restart` or a `start`)";
        return Err((place, Problem::Pointless(why)));
    }
    let starts = |fault: &FaultSpec| {
        use FaultWork::{Process, Service};
        matches!(fault.work, Process(_, ProcessAct::Start) | Service(_, ProcessAct::Start))
    };
    if !repairs && matches!(&provider, Provider::Fault(fault) if starts(fault)) {
        let why = "`start` breaks nothing: it is a manual step of `recovery`, or a rollback";
        return Err((place, Problem::Pointless(why)));
    }
    let tolerance = match &document.tolerance {
        Some(written) => Some(asked::tolerance(context, written)?),
        None => implied(&provider),
    };
    if tolerance.is_none() && matches!(role, Role::SteadyState | Role::Invariant | Role::Safeguard)
    {
        return Err(missing("tolerance", "what its outcome has to be"));
    }
    let from = document.from.as_ref().map(|from| from.value.clone());
    if from.is_some() && !context.has_nodes {
        return Err((place, Problem::NoLab { what: "`from`".into() }));
    }
    let during = match &document.during {
        Some(written) if role == Role::SteadyState => phases(written)?,
        Some(written) => {
            let why = "`during` belongs to probes of the steady-state hypothesis";
            return Err((written.referenced.into(), Problem::Pointless(why)));
        }
        None => Phases::ALL,
    };
    let pauses = match &document.pauses {
        None => Pauses::default(),
        Some(written) => {
            let span = |pause: &Option<Spanned<Value>>, what| {
                pause.as_ref().map_or(Ok(Pauses::default().before), |p| value::span(p, what))
            };
            Pauses {
                before: span(&written.before, "a pause")?,
                after: span(&written.after, "a pause")?,
            }
        }
    };
    Ok(Activity {
        name: name.value.clone(),
        kind,
        provider,
        tolerance,
        from,
        during,
        within: document.within,
        detects: document.detects,
        pauses,
        background: document.background,
        group: None,
        place,
    })
}

/// What a workload verifies is judged whether or not its numbers are.
fn implied(provider: &Provider) -> Option<Tolerance> {
    match provider {
        Provider::Fault(FaultSpec { work: FaultWork::Workload(_), .. }) => {
            Some(Tolerance::Operations(Box::default()))
        }
        _ => None,
    }
}

fn resolve<'a>(
    context: &Context<'a>,
    document: &'a Spanned<ActivityDocument>,
) -> Result<&'a Spanned<ActivityDocument>, Failed> {
    let Some(reference) = &document.value.reference else { return Ok(document) };
    let names = context.all.iter().filter_map(|one| one.value.name.as_ref());
    let named = |one: &&&Spanned<ActivityDocument>| {
        one.value.name.as_ref().is_some_and(|name| name.value == reference.value)
    };
    context.all.iter().find(named).copied().ok_or_else(|| {
        let nearest = nearest(&reference.value, names.map(|name| name.value.as_str()));
        let name = reference.value.clone();
        let nearest = nearest.map(ToOwned::to_owned);
        (reference.referenced.into(), Problem::UnknownReference { name, nearest })
    })
}

/// The words for phases: this tool's own first, then the modes of probes that people know from
/// Litmus.
const PHASES: [(&str, Phases); 9] = [
    ("before", Phases { before: true, ..Phases::NONE }),
    ("fault", Phases { fault: true, ..Phases::NONE }),
    ("after", Phases { after: true, ..Phases::NONE }),
    ("always", Phases::ALL),
    ("start", Phases { before: true, ..Phases::NONE }),
    ("end", Phases { after: true, ..Phases::NONE }),
    ("edge", Phases { before: true, after: true, fault: false }),
    ("continuous", Phases::ALL),
    ("on-chaos", Phases { fault: true, ..Phases::NONE }),
];

fn phases(written: &Spanned<Value>) -> Result<Phases, Failed> {
    let words: Vec<&Value> = match &written.value {
        Value::Array(words) => words.iter().collect(),
        word => vec![word],
    };
    let mut phases = Phases::NONE;
    for word in words {
        match word.as_str() {
            Some(known) if PHASES.iter().any(|(name, _)| *name == known) => {
                let meant = PHASES.iter().filter(|(name, _)| *name == known);
                for (_, meant) in meant {
                    phases.before |= meant.before;
                    phases.fault |= meant.fault;
                    phases.after |= meant.after;
                }
            }
            _ => {
                let given = word.as_str().map_or_else(|| word.to_string(), ToOwned::to_owned);
                let known = PHASES.map(|(name, _)| name);
                let problem = Problem::UnknownWord {
                    what: "a phase",
                    nearest: nearest(&given, known).map(ToOwned::to_owned),
                    given,
                    known: known.join(", "),
                };
                return Err((written.referenced.into(), problem));
            }
        }
    }
    if phases == Phases::NONE {
        let why = "an empty `during` means that the probe is never looked at";
        return Err((written.referenced.into(), Problem::Pointless(why)));
    }
    Ok(phases)
}
