//! `fault: netem`: a whole device.

use serde_saphyr::Spanned;

use super::activity::Context;
use super::{Failed, value};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::NetemSpec;
use crate::experiment::units::{Percent, Span};
use crate::kernel::netlink::qdisc::{
    Chance, Distribution, Loss, Netem, NetemRate, Probability, Reorder,
};

pub(super) const KEYS: &str = "fault, duration, node, devices, latency, jitter, correlation, \
                               distribution, loss, ecn, duplicate, corrupt, reorder, gap, rate, \
                               limit, seed, force, ramp";

pub(super) type Made = fn() -> Distribution;

pub(super) const DISTRIBUTIONS: [(&str, Made); 4] = [
    ("uniform", || Distribution::Uniform),
    ("normal", || Distribution::Normal),
    ("pareto", || Distribution::Pareto),
    ("pareto-normal", || Distribution::ParetoNormal),
];

pub(super) fn netem(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<NetemSpec, Failed> {
    let name = "the fault `netem`";
    let node = document.node.as_ref().map(|node| node.value.clone());
    if node.is_some() && !context.has_nodes {
        return Err((place, Problem::NoLab { what: name.to_owned() }));
    }
    let devices = document.devices.as_ref().map_or_else(Vec::new, |devices| devices.value.clone());
    if devices.is_empty() {
        let purpose = "whose packets are all hit, such as `[lo]`";
        return Err((place, Problem::Missing { what: name.to_owned(), key: "devices", purpose }));
    }
    let share = |written: &Option<Spanned<Percent>>| -> Probability {
        written.as_ref().map_or(Probability::ZERO, |share| share.value.into())
    };
    let span = |written: &Option<Spanned<_>>| written.as_ref().map(|span| span.value);
    let reorder = (document.reorder.is_some() || document.gap.is_some()).then(|| Reorder {
        chance: match &document.reorder {
            Some(share) => share.value.into(),
            None => Probability::ONE,
        }
        .into(),
        gap: document.gap.as_ref().map_or(1, |gap| gap.value),
    });
    let plain = Netem::default();
    let netem = Netem {
        limit: document.limit.as_ref().map_or(plain.limit, |limit| limit.value),
        latency: span(&document.latency).unwrap_or_default().into(),
        jitter: span(&document.jitter).unwrap_or_default().into(),
        delay_correlation: share(&document.correlation),
        distribution: match &document.distribution {
            Some(word) => value::word(word, "a distribution", &DISTRIBUTIONS)?(),
            None => Distribution::Uniform,
        },
        loss: Loss::random(share(&document.loss)),
        ecn: document.ecn.as_ref().is_some_and(|ecn| ecn.value),
        duplicate: Chance::from(share(&document.duplicate)),
        corrupt: Chance::from(share(&document.corrupt)),
        reorder,
        rate: document.rate.as_ref().map(|rate| NetemRate::new(rate.value.bytes())),
        seed: document.seed.as_ref().map(|seed| seed.value),
        ..plain
    };
    if let Err(error) = netem.validate() {
        return Err((place, Problem::Netem(error)));
    }
    if netem == (Netem { limit: netem.limit, seed: netem.seed, ..Netem::default() }) {
        let purpose = "or another harm, such as `loss` or `rate`";
        return Err((place, Problem::Missing { what: name.to_owned(), key: "latency", purpose }));
    }
    let force = document.force.as_ref().is_some_and(|force| force.value);
    let ramp = document.ramp.as_ref().map_or(Span::ZERO, |ramp| ramp.value);
    Ok(NetemSpec { node, devices, netem, force, ramp })
}
