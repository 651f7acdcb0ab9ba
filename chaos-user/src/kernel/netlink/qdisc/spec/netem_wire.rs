//! netem to bytes, and a dump compared with what was wanted.

use crate::kernel::netlink::qdisc::codec::{
    TcNetemCorr, TcNetemCorrupt, TcNetemLoss, TcNetemQopt, TcNetemRate, TcNetemReorder,
    TcNetemSlot, TcQdiscNetem, TcQdiscNetemOption as Attribute,
};
use crate::kernel::netlink::qdisc::compare::ReadBack;
use crate::kernel::netlink::qdisc::units::{TICK_NS, nanoseconds, ticks};
use crate::kernel::netlink::qdisc::{Probability, Write};

use super::netem::{Distribution, Netem, Slot, SlotSpacing};
use super::{InvalidQdisc, Loss};

/// An attribute's length is 16 bits, its header included.
const MAX_VALUE: usize = u16::MAX as usize - 4;

impl Netem {
    /// The options for it, complete: what is not wanted is sent as zero, since the kernel keeps what
    /// it is not sent.
    pub fn to_wire(&self, write: Write) -> Result<TcQdiscNetem, InvalidQdisc> {
        self.validate()?;
        let (loss, loss_correlation) = match self.loss {
            Loss::Random { probability, correlation } => (probability.0, correlation.0),
            Loss::FourState { .. } | Loss::GilbertElliott { .. } => (0, 0),
        };
        let qopt = TcNetemQopt {
            latency: ticks(self.latency),
            limit: self.limit,
            loss,
            gap: self.reorder.map_or(0, |reorder| reorder.gap),
            duplicate: self.duplicate.probability.0,
            jitter: ticks(self.jitter),
        };
        let rate = self.rate_on_wire();
        let mut options = vec![
            Attribute::Latency64(nanoseconds(self.latency)),
            Attribute::Jitter64(nanoseconds(self.jitter)),
            Attribute::Corr(TcNetemCorr {
                delay: self.delay_correlation.0,
                loss: loss_correlation,
                duplicate: self.duplicate.correlation.0,
            }),
            Attribute::Reorder(self.reorder.map_or_else(TcNetemReorder::default, |reorder| {
                TcNetemReorder {
                    probability: reorder.chance.probability.0,
                    correlation: reorder.chance.correlation.0,
                }
            })),
            Attribute::Corrupt(TcNetemCorrupt {
                probability: self.corrupt.probability.0,
                correlation: self.corrupt.correlation.0,
            }),
            Attribute::Rate(rate),
            Attribute::Ecn(u32::from(self.ecn)),
            Attribute::Slot(self.slot.as_ref().map(Slot::to_wire).unwrap_or_default()),
        ];
        if let Some(rate) = self.rate.filter(|_| rate.rate == u32::MAX) {
            options.push(Attribute::Rate64(rate.bytes_per_second));
        }
        options.extend(self.loss.model().map(|model| Attribute::Loss(vec![model])));
        options.extend(self.seed.map(Attribute::PrngSeed));
        if !self.jitter.is_zero() {
            options.extend(table(&self.distribution, write).map(Attribute::DelayDist));
        }
        if let Some(Slot { spacing: SlotSpacing::Distributed { distribution, .. }, .. }) =
            &self.slot
        {
            options.extend(table(distribution, write).map(Attribute::SlotDist));
        }
        let wire = TcQdiscNetem::new(qopt, options);
        let length = netlink_packet_core::Emitable::buffer_len(&wire);
        if length > MAX_VALUE {
            return Err(Self::invalid(
                "distributions",
                format!("of {length} bytes together"),
                "do not fit into one attribute of 65531 bytes; use fewer entries",
            ));
        }
        Ok(wire)
    }

    fn rate_on_wire(&self) -> TcNetemRate {
        self.rate.map_or_else(TcNetemRate::default, |rate| TcNetemRate {
            rate: u32::try_from(rate.bytes_per_second).unwrap_or(u32::MAX),
            packet_overhead: rate.packet_overhead,
            cell_size: rate.cell_size,
            cell_overhead: rate.cell_overhead,
        })
    }

    /// Compares with a dump, attribute by attribute.
    pub fn compare(&self, got: &TcQdiscNetem) -> ReadBack {
        let mut result = ReadBack::default();
        let dump = Dump::of(got);
        result.expect("limit", self.limit, got.qopt.limit);
        result.expect("latency (ns)", nanoseconds(self.latency), dump.latency);
        result.expect("jitter (ns)", nanoseconds(self.jitter), dump.jitter);
        let percent = |result: &mut ReadBack, what, wanted: Probability, got: u32| {
            result.expect(what, wanted, Probability(got));
        };
        percent(&mut result, "delay correlation", self.delay_correlation, dump.corr.delay);
        percent(&mut result, "duplicate", self.duplicate.probability, got.qopt.duplicate);
        percent(
            &mut result,
            "duplicate correlation",
            self.duplicate.correlation,
            dump.corr.duplicate,
        );
        percent(&mut result, "corrupt", self.corrupt.probability, dump.corrupt.probability);
        percent(
            &mut result,
            "corrupt correlation",
            self.corrupt.correlation,
            dump.corrupt.correlation,
        );
        result.expect("gap", self.reorder.map_or(0, |reorder| reorder.gap), got.qopt.gap);
        if let Some(reorder) = self.reorder {
            let chance = reorder.chance;
            percent(&mut result, "reorder", chance.probability, dump.reorder.probability);
            percent(
                &mut result,
                "reorder correlation",
                chance.correlation,
                dump.reorder.correlation,
            );
        }
        self.compare_loss(&dump, got, &mut result);
        result.expect("ecn", self.ecn, dump.ecn);
        self.compare_rate(&dump, &mut result);
        self.compare_slot(&dump, &mut result);
        match (self.seed, dump.seed) {
            (Some(seed), Some(got)) => result.expect("seed", seed, got),
            (Some(seed), None) => result.ignored("seed", seed, "6.6"),
            (None, _) => {}
        }
        if !self.jitter.is_zero() && self.distribution != Distribution::Uniform {
            result.never_dumped("delay distribution");
        }
        result
    }

    fn compare_loss(&self, dump: &Dump<'_>, got: &TcQdiscNetem, result: &mut ReadBack) {
        if let Loss::Random { probability, correlation } = self.loss {
            result.expect("loss", probability, Probability(got.qopt.loss));
            result.expect("loss correlation", correlation, Probability(dump.corr.loss));
        }
        let model = |model: Option<&TcNetemLoss>| {
            model.map_or_else(|| "random".to_owned(), |model| format!("{model:?}"))
        };
        let wanted = self.loss.model();
        result.expect("loss model", model(wanted.as_ref()), model(dump.loss));
    }

    fn compare_rate(&self, dump: &Dump<'_>, result: &mut ReadBack) {
        let wanted = self.rate.map_or(0, |rate| rate.bytes_per_second);
        result.expect("rate (B/s)", wanted, dump.rate64);
        let (wanted, got) = (self.rate_on_wire(), dump.rate);
        result.expect("packet overhead", wanted.packet_overhead, got.packet_overhead);
        result.expect("cell size", wanted.cell_size, got.cell_size);
        result.expect("cell overhead", wanted.cell_overhead, got.cell_overhead);
    }

    fn compare_slot(&self, dump: &Dump<'_>, result: &mut ReadBack) {
        let wanted = self.slot.as_ref().map(Slot::to_wire).unwrap_or_default();
        let got = dump.slot;
        result.expect("slot min (ns)", wanted.min_delay, got.min_delay);
        result.expect("slot max (ns)", wanted.max_delay, got.max_delay);
        result.expect("slot delay (ns)", wanted.dist_delay, got.dist_delay);
        result.expect("slot jitter (ns)", wanted.dist_jitter, got.dist_jitter);
        // "No bound" is sent as 0 and dumped as the largest number.
        let bound = |bound: i32| if bound == i32::MAX { 0 } else { bound };
        result.expect("slot packets", wanted.max_packets, bound(got.max_packets));
        result.expect("slot bytes", wanted.max_bytes, bound(got.max_bytes));
        if let Some(Slot { spacing: SlotSpacing::Distributed { distribution, .. }, .. }) =
            &self.slot
            && *distribution != Distribution::Uniform
        {
            result.never_dumped("slot distribution");
        }
    }
}

/// A new netem without a table is uniform; an existing one keeps its table, so it needs one that is
/// uniform.
fn table(distribution: &Distribution, write: Write) -> Option<Vec<i16>> {
    (*distribution != Distribution::Uniform || write == Write::Change)
        .then(|| distribution.table().entries().to_vec())
}

impl Slot {
    fn to_wire(&self) -> TcNetemSlot {
        let bound = |bound: Option<u32>| bound.map_or(0, u32::cast_signed);
        let (max_packets, max_bytes) = (bound(self.max_packets), bound(self.max_bytes));
        match &self.spacing {
            SlotSpacing::Between { min, max } => TcNetemSlot {
                min_delay: nanoseconds(*min),
                max_delay: nanoseconds(*max),
                max_packets,
                max_bytes,
                ..TcNetemSlot::default()
            },
            SlotSpacing::Distributed { delay, jitter, .. } => TcNetemSlot {
                dist_delay: nanoseconds(*delay),
                dist_jitter: nanoseconds(*jitter),
                max_packets,
                max_bytes,
                ..TcNetemSlot::default()
            },
        }
    }
}

/// The attributes of a dump, each with the value that its absence means.
struct Dump<'a> {
    latency: i64,
    jitter: i64,
    corr: TcNetemCorr,
    reorder: TcNetemReorder,
    corrupt: TcNetemCorrupt,
    rate: TcNetemRate,
    rate64: u64,
    ecn: bool,
    slot: TcNetemSlot,
    loss: Option<&'a TcNetemLoss>,
    seed: Option<u64>,
}

impl<'a> Dump<'a> {
    fn of(netem: &'a TcQdiscNetem) -> Self {
        let ns = |ticks: u32| i64::from(ticks) * TICK_NS.cast_signed();
        let mut dump = Self {
            latency: ns(netem.qopt.latency),
            jitter: ns(netem.qopt.jitter),
            corr: TcNetemCorr::default(),
            reorder: TcNetemReorder::default(),
            corrupt: TcNetemCorrupt::default(),
            rate: TcNetemRate::default(),
            rate64: 0,
            ecn: false,
            slot: TcNetemSlot::default(),
            loss: None,
            seed: None,
        };
        for option in &netem.options {
            match option {
                Attribute::Latency64(ns) => dump.latency = *ns,
                Attribute::Jitter64(ns) => dump.jitter = *ns,
                Attribute::Corr(v) => dump.corr = *v,
                Attribute::Reorder(v) => dump.reorder = *v,
                Attribute::Corrupt(v) => dump.corrupt = *v,
                Attribute::Rate(v) => {
                    dump.rate = *v;
                    dump.rate64 = dump.rate64.max(v.rate.into());
                }
                Attribute::Rate64(v) => dump.rate64 = *v,
                Attribute::Ecn(v) => dump.ecn = *v != 0,
                Attribute::Slot(v) => dump.slot = *v,
                Attribute::Loss(models) => dump.loss = models.first(),
                Attribute::PrngSeed(v) => dump.seed = Some(*v),
                Attribute::DelayDist(_) | Attribute::SlotDist(_) | Attribute::Other(_) => {}
            }
        }
        dump
    }
}

#[cfg(test)]
#[path = "netem_tests.rs"]
mod tests;
