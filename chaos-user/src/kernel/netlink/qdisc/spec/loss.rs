//! How packets get lost.

use serde::{Deserialize, Serialize};

use crate::kernel::netlink::qdisc::Probability;
use crate::kernel::netlink::qdisc::codec::{TcNetemGeModel, TcNetemGiModel, TcNetemLoss};

/// A loss model of netem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "model")]
#[non_exhaustive]
pub enum Loss {
    /// Each packet by itself, or with some memory of the one before. `tc … loss random`.
    Random {
        /// How likely a packet is lost.
        probability: Probability,
        /// How much a decision resembles the one before; 0 for none.
        correlation: Probability,
    },
    /// Four states: received and lost, alone and in bursts. `tc … loss state`.
    FourState {
        /// From "received in a gap" to "lost in a burst".
        p13: Probability,
        /// From "lost in a burst" back to "received in a gap".
        p31: Probability,
        /// From "lost in a burst" to "received in a burst".
        p32: Probability,
        /// From "received in a burst" to "lost in a burst".
        p23: Probability,
        /// From "received in a gap" to "lost alone".
        p14: Probability,
    },
    /// Gilbert-Elliott: a good and a bad state, each with its own loss. `tc … loss gemodel`.
    GilbertElliott {
        /// From the good to the bad state.
        p: Probability,
        /// From the bad to the good state.
        r: Probability,
        /// Loss in the bad state (1-h); 100 % in the simple Gilbert model.
        bad_loss: Probability,
        /// Loss in the good state (1-k); 0 in the Gilbert models.
        good_loss: Probability,
    },
}

impl Loss {
    /// No loss.
    pub const NONE: Self =
        Self::Random { probability: Probability::ZERO, correlation: Probability::ZERO };

    /// Independent loss.
    pub fn random(probability: Probability) -> Self {
        Self::Random { probability, correlation: Probability::ZERO }
    }

    /// Gilbert-Elliott as people write it: P, R[, BAD[, GOOD]]. Without more every packet is lost in
    /// the bad state and none in the good one. `None` if there are too few or too many.
    pub fn gilbert_elliott(given: &[Probability]) -> Option<Self> {
        let [p, r, rest @ ..] = given else { return None };
        let bad_loss = rest.first().copied().unwrap_or(Probability::ONE);
        let good_loss = rest.get(1).copied().unwrap_or(Probability::ZERO);
        let fits = rest.len() <= 2;
        fits.then_some(Self::GilbertElliott { p: *p, r: *r, bad_loss, good_loss })
    }

    /// Four states as `tc` takes them: P13[, P31[, P32[, P23[, P14]]]]. Without more, P31 is what is
    /// left of leaving the state. `None` if there are too few or too many.
    pub fn four_state(given: &[Probability]) -> Option<Self> {
        let [p13, rest @ ..] = given else { return None };
        let or = |at: usize, default| rest.get(at).copied().unwrap_or(default);
        let (p31, p32) = (or(0, p13.complement()), or(1, Probability::ZERO));
        let (p23, p14) = (or(2, Probability::ONE), or(3, Probability::ZERO));
        (rest.len() <= 4).then_some(Self::FourState { p13: *p13, p31, p32, p23, p14 })
    }

    /// Whether nothing is ever lost.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Random { probability, .. } if probability.is_zero())
    }

    /// The model as an attribute; random loss has none.
    pub(super) fn model(&self) -> Option<TcNetemLoss> {
        match *self {
            Self::Random { .. } => None,
            Self::FourState { p13, p31, p32, p23, p14 } => Some(TcNetemLoss::Gi(TcNetemGiModel {
                p13: p13.0,
                p31: p31.0,
                p32: p32.0,
                p14: p14.0,
                p23: p23.0,
            })),
            Self::GilbertElliott { p, r, bad_loss, good_loss } => {
                Some(TcNetemLoss::Ge(TcNetemGeModel {
                    p: p.0,
                    r: r.0,
                    h: bad_loss.complement().0,
                    k1: good_loss.0,
                }))
            }
        }
    }
}

impl Default for Loss {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_tc_has_it() {
        let [a, b, c, d, e] =
            [1.0, 2.0, 3.0, 4.0, 5.0].map(|percent| Probability::from_percent(percent).unwrap());
        let (none, all) = (Probability::ZERO, Probability::ONE);
        let ge = |p, r, bad_loss, good_loss| Loss::GilbertElliott { p, r, bad_loss, good_loss };
        assert_eq!(Loss::gilbert_elliott(&[a]), None);
        assert_eq!(Loss::gilbert_elliott(&[a, b]), Some(ge(a, b, all, none)));
        assert_eq!(Loss::gilbert_elliott(&[a, b, c, d]), Some(ge(a, b, c, d)));
        assert_eq!(Loss::gilbert_elliott(&[a, b, c, d, e]), None);
        let alone = Loss::FourState { p13: a, p31: a.complement(), p32: none, p23: all, p14: none };
        assert_eq!(Loss::four_state(&[a]), Some(alone));
        let whole = Loss::FourState { p13: a, p31: b, p32: c, p23: d, p14: e };
        assert_eq!(Loss::four_state(&[a, b, c, d, e]), Some(whole));
        assert_eq!((Loss::four_state(&[]), Loss::four_state(&[a; 6])), (None, None));
    }
}
