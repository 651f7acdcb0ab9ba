//! netem in words, for people.

use std::fmt::{self, Write as _};

use super::Loss;
use super::netem::{Chance, Distribution, Netem, Slot, SlotSpacing};
use crate::experiment::units::{Rate, Span};

impl fmt::Display for Netem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        if !self.latency.is_zero() || !self.jitter.is_zero() {
            // Writing to a String cannot fail.
            let mut text = format!("delay {}", Span::from(self.latency));
            if !self.jitter.is_zero() {
                let _ = write!(text, " ± {} {}", Span::from(self.jitter), self.distribution);
            }
            if !self.delay_correlation.is_zero() {
                let _ = write!(text, " (correlation {:.2}%)", self.delay_correlation.percent());
            }
            parts.push(text);
        }
        if !self.loss.is_none() {
            parts.push(self.loss.to_string());
        }
        if self.ecn {
            parts.push("marked instead of lost where possible".into());
        }
        for (what, chance) in [("duplicate", self.duplicate), ("corrupt", self.corrupt)] {
            if !chance.probability.is_zero() {
                parts.push(format!("{what} {chance}"));
            }
        }
        if let Some(reorder) = &self.reorder {
            let gap = match reorder.gap {
                1 => String::new(),
                gap => format!(" of every {gap}th"),
            };
            parts.push(format!("reorder {}{gap}", reorder.chance));
        }
        if let Some(rate) = &self.rate {
            let bits = rate.bytes_per_second.saturating_mul(8);
            parts.push(
                Rate::from_bits(bits)
                    .map_or_else(|| "no rate".into(), |rate| format!("rate {rate}")),
            );
        }
        parts.extend(self.slot.as_ref().map(ToString::to_string));
        parts.extend(self.seed.map(|seed| format!("seed {seed}")));
        parts.push(format!("limit {} packets", self.limit));
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}%", self.probability.percent())?;
        if self.correlation.is_zero() {
            return Ok(());
        }
        write!(f, " (correlation {:.2}%)", self.correlation.percent())
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::ParetoNormal => "pareto-normal",
            Self::Custom(_) => "by a table",
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { probability, correlation } => {
                let chance = Chance { probability: *probability, correlation: *correlation };
                write!(f, "loss {chance}")
            }
            Self::FourState { .. } => f.write_str("loss by four states"),
            Self::GilbertElliott { p, r, bad_loss, good_loss } => write!(
                f,
                "loss in bursts (good→bad {:.2}%, bad→good {:.2}%, loss {:.2}% in bad, {:.2}% in \
                 good)",
                p.percent(),
                r.percent(),
                bad_loss.percent(),
                good_loss.percent()
            ),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spacing {
            SlotSpacing::Between { min, max } => {
                write!(f, "bursts every {} to {}", Span::from(*min), Span::from(*max))
            }
            SlotSpacing::Distributed { delay, jitter, distribution } => {
                let (delay, jitter) = (Span::from(*delay), Span::from(*jitter));
                write!(f, "bursts every {delay} ± {jitter} {distribution}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::netlink::qdisc::{NetemRate, Probability, Reorder};

    #[test]
    fn what_is_set_is_said_and_nothing_else() {
        let mut netem = Netem::delay(Duration::from_millis(500));
        assert_eq!(netem.to_string(), "delay 500ms, limit 100000 packets");
        netem.jitter = Duration::from_millis(50);
        netem.distribution = Distribution::Normal;
        netem.loss = Loss::random(Probability::from_percent(5.0).unwrap());
        netem.reorder =
            Some(Reorder { chance: Probability::from_percent(25.0).unwrap().into(), gap: 5 });
        netem.rate = Some(NetemRate::new(1_250_000));
        assert_eq!(
            netem.to_string(),
            "delay 500ms ± 50ms normal, loss 5.00%, reorder 25.00% of every 5th, rate 10mbit, \
             limit 100000 packets"
        );
    }
}
