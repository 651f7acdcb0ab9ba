//! Rules that grow while a fault lasts. Pure.

use chaos_common::decide::ALL;
use chaos_common::rule::{Rule, action, loss};

use crate::experiment::units::Span;

/// A rule that hits more and more packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growing {
    /// Its index.
    pub rule: usize,
    /// What changes.
    pub word: Word,
    /// That word once the rule is whole.
    whole: u64,
}

/// The one word of a rule that grows, so that no packet meets half of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The first of [`Rule::parameters`]: the share of packets that are hit.
    Share,
    /// The first of [`Rule::amount`]: what a byte costs a bucket. With it the rate shrinks, and so
    /// do the bytes of a burst, which lasts as long at any rate.
    ByteCost,
}

impl Growing {
    /// The word at this share of the whole.
    pub fn at(&self, share: f64) -> u64 {
        (self.whole as f64 * share.clamp(0.0, 1.0)).round() as u64
    }
}

impl Word {
    fn of(self, rule: &mut Rule) -> &mut u64 {
        match self {
            Self::Share => &mut rule.parameters[0],
            Self::ByteCost => &mut rule.amount[0],
        }
    }
}

/// A fault that would end before it has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "growing for {ramp} takes longer than the fault lasts ({lasts}), so it would never be whole; let \
     it last longer, or grow faster"
)]
pub struct NeverWhole {
    ramp: Span,
    lasts: Span,
}

/// How long a fault grows, which may not be longer than it lasts.
pub fn within(ramp: Span, lasts: Span) -> Result<Span, NeverWhole> {
    if ramp > lasts { Err(NeverWhole { ramp, lasts }) } else { Ok(ramp) }
}

/// That a fault grows, as the end of a sentence about it; nothing if it does not.
pub fn words(ramp: Span) -> String {
    if ramp == Span::ZERO { String::new() } else { format!(", growing for {ramp}") }
}

/// Makes the rules that lose, copy or corrupt a share of packets do so to this share of it, and those
/// that police a rate let as many times that rate and burst pass; says which they are. At random, a
/// decision that hits a packet at one share also does at every larger one.
pub fn begin(rules: &mut [Rule], share: f64) -> Vec<Growing> {
    let mut growing = Vec::new();
    for (index, rule) in rules.iter_mut().enumerate() {
        let (word, whole) = match (rule.action, rule.loss) {
            (action::POLICE, _) => (Word::ByteCost, rule.amount[0]),
            (action::DROP | action::DUPLICATE | action::CORRUPT, loss::RANDOM | loss::EXACT) => {
                (Word::Share, rule.parameters[0])
            }
            (action::DROP | action::DUPLICATE | action::CORRUPT, loss::ALWAYS) => {
                rule.loss = loss::RANDOM;
                (Word::Share, ALL)
            }
            // Bursts and every n-th have no share that could grow.
            _ => continue,
        };
        let one = Growing { rule: index, word, whole };
        *word.of(rule) = one.at(share);
        growing.push(one);
    }
    growing
}

#[cfg(test)]
mod tests {
    use chaos_common::decide::stateless;
    use chaos_common::police;

    use super::*;

    fn rule(action: u8, loss: u8, parameter: u64) -> Rule {
        Rule { action, loss, seed: 7, parameters: [parameter, 0, 0, 0], ..Rule::ZERO }
    }

    #[test]
    fn shares_grow_and_nothing_else_does() {
        let mut rules = [
            rule(action::PROTECT, loss::ALWAYS, 0),
            rule(action::DROP, loss::RANDOM, 1000),
            rule(action::DROP, loss::EVERY_NTH, 40),
            rule(action::DROP, loss::EXACT, 100_000_000),
            rule(action::DETOUR, loss::ALWAYS, 0),
            rule(action::DROP, loss::ALWAYS, 0),
            rule(action::DUPLICATE, loss::RANDOM, 2000),
            rule(action::CORRUPT, loss::EXACT, 500_000_000),
            rule(action::REJECT, loss::ALWAYS, 0),
        ];
        let before = rules;
        let growing = begin(&mut rules, 0.05);
        assert_eq!(growing.iter().map(|one| one.rule).collect::<Vec<_>>(), [1, 3, 5, 6, 7]);
        let parameters = rules.map(|rule| rule.parameters[0]);
        assert_eq!(parameters, [0, 50, 40, 5_000_000, 0, 214_748_365, 100, 25_000_000, 0]);
        for one in growing {
            rules[one.rule].parameters[0] = one.at(1.0);
        }
        assert_eq!((&rules[..5], &rules[6..]), (&before[..5], &before[6..]), "whole, as they were");
        assert!((0..10_000).all(|n| stateless(&rules[5], n)), "and lose all");
    }

    /// What passes of a stream of frames of 500 bytes, one each millisecond, in so many of them.
    fn passing(rule: &Rule, frames: u64) -> u64 {
        let [per_byte, burst] = rule.amount;
        let mut state = 0;
        let fits = |n: &u64| {
            let (next, fits) =
                police::conforms(state, n * 1_000_000, police::cost(per_byte, 500), burst);
            state = next;
            fits
        };
        (1..=frames).filter(fits).count() as u64
    }

    #[test]
    fn a_rate_and_its_burst_shrink_step_by_step_to_what_they_were() {
        let amount = [police::byte_cost(200_000), police::burst(200_000, 10_000)];
        let mut rules = [Rule { amount, ..rule(action::POLICE, loss::ALWAYS, 0) }];
        let growing = begin(&mut rules, 0.05);
        assert_eq!((growing.len(), growing[0].word), (1, Word::ByteCost));
        assert_eq!(passing(&rules[0], 5000), 5000, "4 Mbit/s do not exceed twenty times the rate");
        let mut last = 5000;
        for step in 2..=20_u32 {
            rules[0].amount[0] = growing[0].at(f64::from(step) / 20.0);
            let next = passing(&rules[0], 5000);
            // Of the whole rate 20 frames at once, and 250 within these five seconds.
            let expected = (20 + 250) * 20 / u64::from(step);
            assert!(next.abs_diff(expected) <= 2, "step {step}: {next}, not {expected}");
            assert!(next < last, "step {step}: {next} after {last}");
            last = next;
        }
        assert_eq!(rules[0].amount, amount, "whole, as it was");
        // Whatever the rate, it is more at first.
        for rate in [police::MIN_RATE, 400_000_000_000] {
            let amount = [police::byte_cost(rate), police::burst(rate, 131_072)];
            let mut rules = [Rule { amount, ..rule(action::POLICE, loss::ALWAYS, 0) }];
            begin(&mut rules, 0.05);
            assert!((1..amount[0]).contains(&rules[0].amount[0]), "{rate}");
        }
    }

    #[test]
    fn what_is_lost_early_would_be_lost_late() {
        for (loss, whole) in [(loss::RANDOM, ALL / 2), (loss::EXACT, 500_000_000)] {
            let mut rules = [rule(action::DROP, loss, whole)];
            let growing = begin(&mut rules, 0.05);
            let lost = |rule: &Rule| (0..5000).filter(|n| stateless(rule, *n)).count();
            let mut last = lost(&rules[0]);
            assert!((50..250).contains(&last), "{last}");
            for step in 2..=20 {
                let mut next = rules[0];
                next.parameters[0] = growing[0].at(f64::from(step) / 20.0);
                if loss == loss::RANDOM {
                    let kept = |n: &u64| stateless(&rules[0], *n) && !stateless(&next, *n);
                    assert_eq!((0..5000).filter(kept).count(), 0, "step {step}");
                }
                assert!(lost(&next) > last, "step {step}");
                last = lost(&next);
                rules[0] = next;
            }
            assert!((2300..2700).contains(&last), "{last}");
        }
    }
}
