//! What happens to packets on a detour.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::experiment::units::{Percent, Rate, Span};
use crate::kernel::netlink::qdisc::Distribution;

/// One standard deviation in a distribution's table.
const DEVIATION: i128 = 8192;
/// Bytes of the smallest packet.
const SMALLEST: u128 = 20;

/// What happens to packets on a detour, whoever holds them there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Impairment {
    /// How long each packet is held.
    pub latency: Span,
    /// How far delays stray from the latency.
    pub jitter: Span,
    /// How they are spread.
    pub distribution: Distribution,
    /// How much each delay resembles the one before.
    pub correlation: Percent,
    /// Some packets overtake those that are held.
    pub overtake: Option<Overtake>,
    /// A link of limited speed.
    pub bottleneck: Option<Bottleneck>,
    /// Packets that may be held at once; more are dropped. `None` is what the holder can.
    pub limit: Option<u32>,
    /// Whether a packet waits for those of its flow that came before it, in spite of jitter.
    pub keep_order: bool,
}

/// Packets that are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overtake {
    /// Share of the candidates.
    pub share: Percent,
    /// How much each choice resembles the one before.
    pub correlation: Percent,
    /// Every how many packets one is a candidate, at least 1.
    pub gap: u32,
}

/// A link that takes time for each packet, with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// Its speed, link layer included.
    pub rate: Rate,
    /// Packets that may wait, at least 1; more are dropped.
    pub queue: u32,
}

impl Impairment {
    /// About the longest that a packet is held, a queue before a slow link left out.
    pub fn longest(&self) -> Span {
        let spread = self.jitter.nanos().saturating_mul(4);
        Span::from_nanos(self.latency.nanos().saturating_add(spread))
    }

    /// The shortest time for which a packet that does not overtake can be held.
    pub fn least(&self) -> Span {
        let latency = i128::from(self.latency.nanos());
        let jitter = i128::from(self.jitter.nanos());
        let strays = match &self.distribution {
            _ if jitter == 0 => 0,
            Distribution::Uniform => -jitter,
            other => {
                let least = other.table().entries().iter().min().copied().unwrap_or(0);
                jitter * i128::from(least) / DEVIATION
            }
        };
        let held = u64::try_from((latency + strays).max(0)).unwrap_or(u64::MAX);
        let sent = self.bottleneck.map_or(0, |link| {
            let nanos = SMALLEST * 8 * 1_000_000_000 / u128::from(link.rate.bits().max(1));
            u64::try_from(nanos).unwrap_or(u64::MAX)
        });
        Span::from_nanos(held.saturating_add(sent))
    }

    /// Whether so many may overtake that hardly any packet is held.
    pub fn may_hold_nothing(&self) -> bool {
        self.overtake.is_some_and(|Overtake { share, correlation, gap }| {
            // One packet of so many overtakes. A choice that resembles the one before may stay.
            let of = f64::from(gap.max(1) - 1) + 1.0 / share.fraction().max(f64::MIN_POSITIVE);
            of < 1.1 || correlation.ppb() > 0 && of < 2.0
        })
    }

    /// This share of it, more than 0 and up to 1: shorter delays, fewer that overtake, a faster link.
    #[must_use]
    pub fn scaled(&self, share: f64) -> Self {
        let share = share.clamp(f64::MIN_POSITIVE, 1.0);
        let span = |span: Span| Span::from_nanos((span.nanos() as f64 * share) as u64);
        let percent = |part: Percent| {
            Percent::from_ppb((f64::from(part.ppb()) * share).round() as u32).unwrap_or(part)
        };
        Self {
            latency: span(self.latency),
            jitter: span(self.jitter),
            overtake: self
                .overtake
                .map(|overtake| Overtake { share: percent(overtake.share), ..overtake })
                .filter(|overtake| overtake.share.ppb() > 0),
            bottleneck: self.bottleneck.map(|link| Bottleneck {
                rate: Rate::from_bits((link.rate.bits() as f64 / share) as u64)
                    .unwrap_or(link.rate),
                ..link
            }),
            ..self.clone()
        }
    }
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            latency,
            jitter,
            distribution,
            correlation,
            overtake,
            bottleneck,
            limit,
            keep_order,
        } = self;
        let mut parts = Vec::new();
        if *latency > Span::ZERO {
            // Writing to a String cannot fail.
            let mut text = format!("delay {latency}");
            if *jitter > Span::ZERO {
                let _ = write!(text, " ± {jitter} {distribution}");
            }
            if correlation.ppb() > 0 {
                let _ = write!(text, " (correlation {correlation})");
            }
            if *keep_order {
                text.push_str(" in order");
            }
            parts.push(text);
        }
        if let Some(Overtake { share, gap, .. }) = overtake {
            let gap = if *gap > 1 { format!(" of every {gap}th") } else { String::new() };
            parts.push(format!("reorder {share}{gap}"));
        }
        if let Some(Bottleneck { rate, queue }) = bottleneck {
            parts.push(format!("rate {rate} with a queue of {queue} packets"));
        }
        if let Some(limit) = limit {
            parts.push(format!("at most {limit} packets held"));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::qdisc::DistributionTable;

    #[test]
    fn a_part_is_less_of_everything() {
        let whole = Impairment {
            latency: Span::from_ms(500),
            jitter: Span::from_ms(50),
            overtake: Some(Overtake { share: Percent::ALL, correlation: Percent::ZERO, gap: 5 }),
            bottleneck: Some(Bottleneck { rate: "10mbit".parse().unwrap(), queue: 9 }),
            ..Impairment::default()
        };
        assert_eq!(
            whole.to_string(),
            "delay 500ms ± 50ms uniform, reorder 100% of every 5th, rate 10mbit with a queue of 9 \
             packets"
        );
        assert_eq!(
            whole.scaled(0.5).to_string(),
            "delay 250ms ± 25ms uniform, reorder 50% of every 5th, rate 20mbit with a queue of 9 \
             packets"
        );
        assert_eq!(whole.scaled(1.0), whole);
        assert_eq!(whole.scaled(0.0).latency, Span::ZERO);
    }

    #[test]
    fn the_least_is_what_no_draw_goes_below() {
        let held = |latency, jitter, distribution| Impairment {
            latency: Span::from_ms(latency),
            jitter: Span::from_ms(jitter),
            distribution,
            ..Impairment::default()
        };
        assert_eq!(held(500, 0, Distribution::Normal).least(), Span::from_ms(500));
        assert_eq!(held(500, 50, Distribution::Uniform).least(), Span::from_ms(450));
        assert_eq!(held(40, 50, Distribution::Uniform).least(), Span::ZERO);
        let normal = held(500, 50, Distribution::Normal).least();
        assert!((Span::from_ms(300)..Span::from_ms(320)).contains(&normal), "{normal}");
        // Many short delays and a few very long ones.
        let pareto = held(500, 50, Distribution::Pareto).least();
        assert!((Span::from_ms(440)..Span::from_ms(480)).contains(&pareto), "{pareto}");
        let table = DistributionTable::new(vec![-8192, 0, 16384]).unwrap();
        let own = held(500, 50, Distribution::Custom(table));
        assert_eq!(own.least(), Span::from_ms(450));
        assert_eq!(own.scaled(0.05).least(), Span::from_nanos(22_500_000));
        let link = Bottleneck { rate: "8kbit".parse().unwrap(), queue: 9 };
        let slow = Impairment { bottleneck: Some(link), ..Impairment::default() };
        assert_eq!(slow.least(), Span::from_ms(20), "20 bytes at 1000 bytes per second");
        assert_eq!(slow.scaled(0.05).least(), Span::from_ms(1));
    }

    #[test]
    fn most_may_overtake() {
        let overtaking = |share: &str, correlation: &str, gap| {
            let (share, correlation) = (share.parse().unwrap(), correlation.parse().unwrap());
            let overtake = Some(Overtake { share, correlation, gap });
            Impairment { overtake, ..Impairment::default() }.may_hold_nothing()
        };
        assert!(!Impairment::default().may_hold_nothing());
        assert!(!overtaking("25%", "0%", 1));
        assert!(!overtaking("80%", "0%", 1));
        assert!(!overtaking("100%", "0%", 5));
        assert!(!overtaking("25%", "50%", 1));
        assert!(overtaking("100%", "0%", 1));
        assert!(overtaking("60%", "90%", 1));
    }
}
