//! What a netem does to everything that leaves its device, as far as an operator's session has to
//! survive it.

use super::Harm;
use crate::experiment::units::{Percent, Rate};
use crate::kernel::netlink::qdisc::{Loss, Netem, Probability};

impl Harm {
    /// What a netem does to everything that leaves its device.
    pub fn of_netem(netem: &Netem) -> Self {
        let share = |probability: Probability| {
            let ppb = (probability.percent() * 1e7).round() as u32;
            Percent::from_ppb(ppb).unwrap_or(Percent::ALL)
        };
        let lost = match netem.loss {
            _ if netem.ecn => 0.0,
            Loss::Random { probability, .. } => probability.percent(),
            // The worst that a burst does is what a session notices.
            Loss::GilbertElliott { p, bad_loss, good_loss, .. } if p.is_zero() => {
                good_loss.percent().min(bad_loss.percent())
            }
            Loss::GilbertElliott { bad_loss, good_loss, .. } => {
                bad_loss.percent().max(good_loss.percent())
            }
            Loss::FourState { p13, p14, .. } if p13.is_zero() => p14.percent(),
            Loss::FourState { .. } => 100.0,
        };
        let damaged = share(netem.corrupt.probability).fraction() * 100.0;
        let both =
            Probability::from_percent((lost + damaged).min(100.0)).unwrap_or(Probability::ONE);
        Self {
            loss: share(both),
            delay: netem.latency.saturating_add(netem.jitter).into(),
            rate: netem
                .rate
                .and_then(|rate| Rate::from_bits(rate.bytes_per_second.saturating_mul(8))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::units::Span;
    use crate::kernel::netlink::qdisc::NetemRate;

    #[test]
    fn what_a_session_would_have_to_survive() {
        let percent = |value| Probability::from_percent(value).unwrap();
        let mut netem = Netem::delay(Duration::from_millis(1500));
        netem.jitter = Duration::from_millis(600);
        netem.corrupt = percent(20.0).into();
        netem.loss = Loss::random(percent(15.0));
        netem.rate = Some(NetemRate::new(1000));
        let found = Harm::of_netem(&netem);
        assert_eq!(found.loss.to_string(), "35%");
        assert_eq!(found.delay, Span::from_ms(2100));
        assert_eq!(found.rate.map(Rate::bits), Some(8000));
        netem.loss = Loss::GilbertElliott {
            p: percent(1.0),
            r: percent(50.0),
            bad_loss: Probability::ONE,
            good_loss: Probability::ZERO,
        };
        assert_eq!(Harm::of_netem(&netem).loss, Percent::ALL);
        netem.ecn = true;
        assert_eq!(Harm::of_netem(&netem).loss.to_string(), "20%");
    }
}
