//! What a run says of itself when it begins.

use super::conductor::Options;
use super::event::{FORMAT, ProbeSpec, RunInfo};
use crate::experiment::{Activity, Experiment, Provider};

pub(super) fn info(experiment: &Experiment, options: &Options) -> RunInfo {
    let steady = experiment.hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes);
    let spec = |activity: &Activity, steady| {
        activity.tolerance.as_ref().map(|tolerance| ProbeSpec {
            name: activity.name.clone(),
            steady,
            expected: tolerance.to_string(),
            during: activity.during,
            within: activity.within,
            share: tolerance.share(),
            detects: activity.detects,
        })
    };
    let others = experiment.method.iter().chain(&experiment.rollbacks);
    let others = others.chain(&experiment.invariants);
    let faults = |one: &&Activity| matches!(one.provider, Provider::Fault(_));
    RunInfo {
        format: FORMAT,
        tool: env!("CARGO_PKG_VERSION").into(),
        name: options.name.clone(),
        title: experiment.title.clone(),
        seed: options.seed,
        host: options.host.clone(),
        platform: options.platform.clone(),
        probes: steady
            .filter_map(|one| spec(one, true))
            .chain(others.filter_map(|one| spec(one, false)))
            .collect(),
        faults: experiment.method.iter().filter(faults).count(),
        recovery_within: experiment.recovery.within,
        recovery_stable: experiment.recovery.stable,
        frequency: experiment.runtime.frequency,
        experiment: experiment.source.clone(),
    }
}
