//! A part of a netem, for those that grow.

use std::time::Duration;

use super::netem::{Chance, Netem, NetemRate, Slot, SlotSpacing};
use crate::kernel::netlink::qdisc::Loss;
use crate::kernel::netlink::qdisc::units::Probability;

impl Netem {
    /// This share of it, more than 0 and up to 1: shorter delays and pauses, smaller chances, a faster
    /// link. Of losses in bursts, the chance to leave the good state. What it does at all it still
    /// does, so what is valid stays valid.
    #[must_use]
    pub fn scaled(&self, share: f64) -> Self {
        let share = share.clamp(f64::MIN_POSITIVE, 1.0);
        let time = |time: Duration| match time {
            Duration::ZERO => time,
            time => time.mul_f64(share).max(Duration::from_nanos(1)),
        };
        let chance = |one: Chance| Chance { probability: one.probability.scaled(share), ..one };
        Self {
            latency: time(self.latency),
            jitter: time(self.jitter),
            loss: match self.loss {
                Loss::Random { probability, correlation } => {
                    Loss::Random { probability: probability.scaled(share), correlation }
                }
                Loss::GilbertElliott { p, r, bad_loss, good_loss } => {
                    let (p, good_loss) = (p.scaled(share), good_loss.scaled(share));
                    Loss::GilbertElliott { p, r, bad_loss, good_loss }
                }
                Loss::FourState { p13, p31, p32, p23, p14 } => {
                    let (p13, p14) = (p13.scaled(share), p14.scaled(share));
                    Loss::FourState { p13, p31, p32, p23, p14 }
                }
            },
            duplicate: chance(self.duplicate),
            corrupt: chance(self.corrupt),
            reorder: self
                .reorder
                .map(|reorder| super::netem::Reorder { chance: chance(reorder.chance), ..reorder }),
            rate: self.rate.map(|rate| NetemRate {
                bytes_per_second: (rate.bytes_per_second as f64 / share) as u64,
                ..rate
            }),
            slot: self.slot.clone().map(|slot| Slot {
                spacing: match slot.spacing {
                    SlotSpacing::Between { min, max } => {
                        SlotSpacing::Between { min: time(min), max: time(max) }
                    }
                    SlotSpacing::Distributed { delay, jitter, distribution } => {
                        let (delay, jitter) = (time(delay), time(jitter));
                        SlotSpacing::Distributed { delay, jitter, distribution }
                    }
                },
                ..slot
            }),
            ..self.clone()
        }
    }
}

impl Probability {
    /// This share of it, but never 0 unless it is.
    fn scaled(self, share: f64) -> Self {
        if self.is_zero() {
            return self;
        }
        Self::from_percent(self.percent() * share)
            .filter(|part| !part.is_zero())
            .unwrap_or(Self::SMALLEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::qdisc::{Distribution, Reorder};

    fn percent(percent: f64) -> Probability {
        Probability::from_percent(percent).unwrap()
    }

    #[test]
    fn a_part_is_less_of_everything_and_as_valid() {
        let whole = Netem {
            latency: Duration::from_millis(500),
            jitter: Duration::from_nanos(3),
            distribution: Distribution::Normal,
            loss: Loss::Random { probability: percent(10.0), correlation: percent(5.0) },
            ecn: true,
            duplicate: Chance { probability: Probability::SMALLEST, correlation: percent(50.0) },
            corrupt: percent(40.0).into(),
            reorder: Some(Reorder { chance: percent(20.0).into(), gap: 5 }),
            rate: Some(NetemRate::new(1_000)),
            slot: Some(Slot {
                spacing: SlotSpacing::Between {
                    min: Duration::from_millis(20),
                    max: Duration::from_millis(40),
                },
                max_packets: Some(3),
                max_bytes: None,
            }),
            seed: Some(7),
            ..Netem::default()
        };
        whole.validate().unwrap();
        assert_eq!(whole.scaled(1.0), whole);
        let part = whole.scaled(0.05);
        part.validate().unwrap();
        assert_eq!(part.latency, Duration::from_millis(25));
        assert_eq!(part.jitter, Duration::from_nanos(1), "it still varies");
        assert_eq!(
            part.loss,
            Loss::Random { probability: percent(0.5), correlation: percent(5.0) }
        );
        assert_eq!(part.duplicate, whole.duplicate, "it could not be less");
        assert_eq!(part.corrupt, percent(2.0).into());
        assert_eq!(part.reorder.map(|one| (one.chance, one.gap)), Some((percent(1.0).into(), 5)));
        assert_eq!(part.rate, Some(NetemRate::new(20_000)));
        assert!(part.to_string().contains("bursts every 1ms to 2ms"), "{part}");
        for tiny in [0.0, 1e-300] {
            whole.scaled(tiny).validate().unwrap();
        }
        assert_eq!(Netem::default().scaled(0.5), Netem::default());
    }

    #[test]
    fn bursts_begin_less_often() {
        let half = percent(50.0);
        let gemodel = Loss::GilbertElliott { p: half, r: half, bad_loss: half, good_loss: half };
        let whole = Netem { loss: gemodel, ..Netem::default() };
        let (p, good_loss) = (percent(5.0), percent(5.0));
        let part = Loss::GilbertElliott { p, r: half, bad_loss: half, good_loss };
        assert_eq!(whole.scaled(0.1).loss, part);
        let state = Loss::FourState { p13: half, p31: half, p32: half, p23: half, p14: half };
        let whole = Netem { loss: state, ..Netem::default() };
        let part = Loss::FourState { p13: p, p31: half, p32: half, p23: half, p14: p };
        assert_eq!(whole.scaled(0.1).loss, part);
    }
}
