//! Shares of packets that grow while a fault lasts. Pure.

use chaos_common::decide::ALL;
use chaos_common::rule::{Rule, action, loss};

/// A rule that hits more and more packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growing {
    /// Its index.
    pub rule: usize,
    /// Its first parameter once it is whole.
    whole: u64,
}

impl Growing {
    /// Its first parameter at this share of the whole.
    pub fn at(&self, share: f64) -> u64 {
        (self.whole as f64 * share.clamp(0.0, 1.0)).round() as u64
    }
}

/// Makes the rules that lose, copy or corrupt a share of packets do so to this share of it, and says
/// which they are. At random, a decision that hits a packet at one share also does at every larger one.
pub fn begin(rules: &mut [Rule], share: f64) -> Vec<Growing> {
    let mut growing = Vec::new();
    for (index, rule) in rules.iter_mut().enumerate() {
        if !matches!(rule.action, action::DROP | action::DUPLICATE | action::CORRUPT) {
            continue;
        }
        let whole = match rule.loss {
            loss::RANDOM | loss::EXACT => rule.parameters[0],
            loss::ALWAYS => {
                rule.loss = loss::RANDOM;
                ALL
            }
            // Bursts and every n-th have no share that could grow.
            _ => continue,
        };
        let one = Growing { rule: index, whole };
        rule.parameters[0] = one.at(share);
        growing.push(one);
    }
    growing
}

#[cfg(test)]
mod tests {
    use chaos_common::decide::stateless;

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
            rule(action::POLICE, loss::ALWAYS, 0),
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
