//! An impairment as each holder of packets takes it. Both mean the same by it.

use std::num::{NonZeroU32, NonZeroU64};

use crate::kernel::delay_line::{self, Order, Overflow, Setting};
use crate::kernel::netlink::qdisc::{Chance, Distribution, Netem, NetemRate, Reorder};
use crate::plan::Impairment;

/// For netem. `seed` only matters where something is random.
pub(super) fn netem(impairment: &Impairment, seed: u64) -> Netem {
    let random = impairment.jitter.nanos() > 0 || impairment.overtake.is_some();
    let held = impairment.latency.nanos() > 0;
    let queue = impairment.bottleneck.filter(|_| !held).map(|link| link.queue);
    Netem {
        limit: impairment.limit.or(queue).unwrap_or(Netem::DEFAULT_LIMIT),
        latency: impairment.latency.into(),
        jitter: impairment.jitter.into(),
        delay_correlation: impairment.correlation.into(),
        distribution: impairment.distribution.clone(),
        reorder: impairment.overtake.filter(|_| held).map(|overtake| Reorder {
            chance: Chance {
                probability: overtake.share.into(),
                correlation: overtake.correlation.into(),
            },
            gap: overtake.gap,
        }),
        rate: impairment.bottleneck.map(|link| NetemRate::new(link.rate.bytes())),
        seed: random.then_some(seed),
        ..Netem::default()
    }
}

/// For the delay line.
pub(super) fn line(impairment: &Impairment) -> Setting {
    Setting {
        latency: impairment.latency.into(),
        jitter: impairment.jitter.into(),
        distribution: match &impairment.distribution {
            Distribution::Uniform => delay_line::Distribution::Uniform,
            other => delay_line::Distribution::from(other.table().as_ref()),
        },
        correlation: impairment.correlation.fraction(),
        // A link keeps its packets in order; without one, jitter does not, as in netem.
        order: if impairment.bottleneck.is_some() || impairment.keep_order {
            Order::Keep
        } else {
            Order::Free
        },
        reorder: impairment.overtake.map(|overtake| delay_line::Reorder {
            chance: overtake.share.fraction(),
            correlation: overtake.correlation.fraction(),
            gap: NonZeroU32::new(overtake.gap).unwrap_or(NonZeroU32::MIN),
        }),
        rate: impairment.bottleneck.map(|link| delay_line::Rate {
            bytes_per_second: NonZeroU64::new(link.rate.bytes()).unwrap_or(NonZeroU64::MIN),
            overhead: 0,
            queue_packets: link.queue,
            queue_bytes: u64::MAX,
        }),
        limit: impairment.limit.unwrap_or(u32::MAX),
        // A limit that was asked for is a queue's; without one the line fails open.
        overflow: if impairment.limit.is_some() { Overflow::Drop } else { Overflow::Deliver },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::units::{Percent, Span};
    use crate::plan::{Bottleneck, Overtake};

    #[test]
    fn both_take_the_same() {
        let impairment = Impairment {
            latency: Span::from_ms(20),
            jitter: Span::from_ms(4),
            distribution: Distribution::Normal,
            correlation: Percent::ALL,
            overtake: Some(Overtake { share: Percent::ALL, correlation: Percent::ZERO, gap: 3 }),
            ..Impairment::default()
        };
        let (netem, line) = (netem(&impairment, 7), line(&impairment));
        netem.validate().unwrap();
        line.validate().unwrap();
        assert_eq!((netem.latency, netem.jitter), (line.latency, line.jitter));
        assert_eq!(netem.seed, Some(7));
        assert_eq!(netem.reorder.map(|one| one.gap), line.reorder.map(|one| one.gap.get()));
        assert_eq!(line.order, Order::Free);
        assert_eq!(line.overflow, Overflow::Deliver);
        let in_order = Impairment { keep_order: true, ..impairment };
        assert_eq!(super::line(&in_order).order, Order::Keep);
    }

    #[test]
    fn a_link_has_a_queue_and_keeps_order() {
        let impairment = Impairment {
            bottleneck: Some(Bottleneck { rate: "8mbit".parse().unwrap(), queue: 50 }),
            ..Impairment::default()
        };
        let (netem, line) = (netem(&impairment, 7), line(&impairment));
        netem.validate().unwrap();
        line.validate().unwrap();
        assert_eq!((netem.limit, netem.seed, netem.latency), (50, None, Duration::ZERO));
        assert_eq!(netem.rate.map(|rate| rate.bytes_per_second), Some(1_000_000));
        assert_eq!(
            line.rate.map(|rate| (rate.bytes_per_second.get(), rate.queue_packets)),
            Some((1_000_000, 50))
        );
        assert_eq!(line.order, Order::Keep);
    }
}
