//! `fault: netem`: a whole device.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::activity::Context;
use super::fault::ramp;
use super::{Failed, value};
use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::error::{Place, Problem};
use crate::experiment::fault::NetemSpec;
use crate::experiment::units::Percent;
use crate::kernel::netlink::qdisc::{
    Chance, Distribution, DistributionTable, Loss, Netem, NetemRate, Probability, Reorder, Slot,
    SlotSpacing,
};

pub(super) const KEYS: &str = "fault, duration, node, devices, latency, jitter, correlation, \
                               distribution, table, loss, loss-correlation, loss-gemodel, \
                               loss-state, ecn, duplicate, duplicate-correlation, corrupt, \
                               corrupt-correlation, reorder, reorder-correlation, gap, rate, \
                               packet-overhead, cell-size, cell-overhead, slot, slot-jitter, \
                               slot-distribution, slot-packets, slot-bytes, limit, seed, force, ramp";

type Made = fn() -> Distribution;

const DISTRIBUTIONS: [(&str, Made); 4] = [
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
    depends(document)?;
    let share = |written: &Option<Spanned<Percent>>| -> Probability {
        written.as_ref().map_or(Probability::ZERO, |share| share.value.into())
    };
    let span = |written: &Option<Spanned<_>>| written.as_ref().map(|span| span.value);
    let reorder = (document.reorder.is_some() || document.gap.is_some()).then(|| Reorder {
        chance: Chance {
            probability: match &document.reorder {
                Some(share) => share.value.into(),
                None => Probability::ONE,
            },
            correlation: share(&document.reorder_correlation),
        },
        gap: document.gap.as_ref().map_or(1, |gap| gap.value),
    });
    let plain = Netem::default();
    let netem = Netem {
        limit: document.limit.as_ref().map_or(plain.limit, |limit| limit.value),
        latency: span(&document.latency).unwrap_or_default().into(),
        jitter: span(&document.jitter).unwrap_or_default().into(),
        delay_correlation: share(&document.correlation),
        distribution: distribution(document)?,
        loss: loss(document)?,
        ecn: document.ecn.as_ref().is_some_and(|ecn| ecn.value),
        duplicate: Chance {
            probability: share(&document.duplicate),
            correlation: share(&document.duplicate_correlation),
        },
        corrupt: Chance {
            probability: share(&document.corrupt),
            correlation: share(&document.corrupt_correlation),
        },
        reorder,
        rate: document.rate.as_ref().map(|rate| NetemRate {
            packet_overhead: document.packet_overhead.as_ref().map_or(0, |bytes| bytes.value),
            cell_size: document.cell_size.as_ref().map_or(0, |bytes| bytes.value),
            cell_overhead: document.cell_overhead.as_ref().map_or(0, |bytes| bytes.value),
            ..NetemRate::new(rate.value.bytes())
        }),
        slot: slot(document)?,
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
    Ok(NetemSpec { node, devices, netem, force, ramp: ramp(document)? })
}

/// Refuses a key that means nothing without another.
fn depends(document: &ProviderDocument) -> Result<(), Failed> {
    const NEEDS: [(&str, &str, &str); 13] = [
        ("loss-correlation", "loss", "the share that is lost"),
        ("duplicate-correlation", "duplicate", "the share that is sent twice"),
        ("corrupt-correlation", "corrupt", "the share that is damaged"),
        ("reorder-correlation", "reorder", "the share that overtakes"),
        ("packet-overhead", "rate", "such as `10mbit`"),
        ("cell-size", "rate", "such as `10mbit`"),
        ("cell-overhead", "cell-size", "the bytes of a cell"),
        ("slot-jitter", "slot", "the time between bursts, such as `[20ms]`"),
        ("slot-distribution", "slot-jitter", "such as `5ms`"),
        ("slot-packets", "slot", "the time between bursts, such as `[20ms]`"),
        ("slot-bytes", "slot", "the time between bursts, such as `[20ms]`"),
        ("table", "jitter", "how far delays stray, such as `50ms`"),
        ("correlation", "jitter", "how far delays stray, such as `50ms`"),
    ];
    let present = document.present();
    let at = |key: &str| present.iter().find(|(one, _)| *one == key).map(|(_, at)| *at);
    for (one, key, purpose) in NEEDS {
        if let (Some(at), None) = (at(one), at(key)) {
            let what = format!("`{one}`");
            return Err((at.into(), Problem::Missing { what, key, purpose }));
        }
    }
    Ok(())
}

/// How delays are spread: by name, or by a table.
pub(super) fn distribution(document: &ProviderDocument) -> Result<Distribution, Failed> {
    match (&document.distribution, &document.table) {
        (None, None) => Ok(Distribution::Uniform),
        (Some(word), None) => named(word),
        (None, Some(table)) => DistributionTable::new(table.value.clone())
            .map(Distribution::Custom)
            .map_err(|error| (table.referenced.into(), Problem::Refused(error.to_string()))),
        (Some(_), Some(table)) => {
            let problem = Problem::Exclusive { one: "distribution", other: "table" };
            Err((table.referenced.into(), problem))
        }
    }
}

fn named(word: &Text) -> Result<Distribution, Failed> {
    Ok(value::word(word, "a distribution", &DISTRIBUTIONS)?())
}

fn loss(document: &ProviderDocument) -> Result<Loss, Failed> {
    let ProviderDocument { loss, loss_gemodel, loss_state, .. } = document;
    let ways = [
        ("loss", loss.as_ref().map(|one| one.referenced)),
        ("loss-gemodel", loss_gemodel.as_ref().map(|one| one.referenced)),
        ("loss-state", loss_state.as_ref().map(|one| one.referenced)),
    ];
    let mut given = ways.into_iter().filter_map(|(key, at)| Some((key, at?)));
    if let (Some((one, _)), Some((other, at))) = (given.next(), given.next()) {
        return Err((at.into(), Problem::Exclusive { one, other }));
    }
    let all = |shares: &[Percent]| -> Vec<Probability> {
        shares.iter().map(|share| (*share).into()).collect()
    };
    let count = |written: &Spanned<Vec<Percent>>, what, wanted| {
        let given = written.value.len().to_string();
        (written.referenced.into(), Problem::Value { what, wanted, given })
    };
    match (loss, loss_gemodel, loss_state) {
        (_, Some(ge), _) => Loss::gilbert_elliott(&all(&ge.value)).ok_or_else(|| {
            let wanted = "two to four shares, `[P, R, BAD, GOOD]` such as `[1%, 25%]`";
            count(ge, "`loss-gemodel`", wanted)
        }),
        (_, _, Some(state)) => Loss::four_state(&all(&state.value)).ok_or_else(|| {
            count(state, "`loss-state`", "one to five shares, `[P13, P31, P32, P23, P14]`")
        }),
        (Some(share), ..) => Ok(Loss::Random {
            probability: share.value.into(),
            correlation: document
                .loss_correlation
                .as_ref()
                .map_or(Probability::ZERO, |share| share.value.into()),
        }),
        (None, None, None) => Ok(Loss::NONE),
    }
}

fn slot(document: &ProviderDocument) -> Result<Option<Slot>, Failed> {
    let Some(written) = &document.slot else { return Ok(None) };
    let distribution = document.slot_distribution.as_ref().map(named).transpose()?;
    let jitter = document.slot_jitter.as_ref().map(|jitter| jitter.value.into());
    let jitter = jitter.map(|jitter| (jitter, distribution.unwrap_or_default()));
    let times: Vec<Duration> = written.value.iter().map(|time| (*time).into()).collect();
    let spacing = SlotSpacing::of(&times, jitter).ok_or_else(|| {
        let wanted = "one time, or the shortest and the longest; with `slot-jitter` just one";
        let given = times.len().to_string();
        (written.referenced.into(), Problem::Value { what: "`slot`", wanted, given })
    })?;
    let number = |written: &Option<Spanned<u32>>| written.as_ref().map(|number| number.value);
    let (max_packets, max_bytes) = (number(&document.slot_packets), number(&document.slot_bytes));
    Ok(Some(Slot { spacing, max_packets, max_bytes }))
}
