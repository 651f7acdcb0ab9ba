//! Limits of numbers.

use std::fmt;

/// Limits of a number; all that are given have to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// It has to be less than this.
    pub below: Option<f64>,
    /// It has to be more than this.
    pub above: Option<f64>,
    /// It has to be this or more.
    pub at_least: Option<f64>,
    /// It has to be this or less.
    pub at_most: Option<f64>,
}

impl Bounds {
    /// Whether a number keeps to all limits.
    pub fn accept(&self, number: f64) -> bool {
        self.below.is_none_or(|limit| number < limit)
            && self.above.is_none_or(|limit| number > limit)
            && self.at_least.is_none_or(|limit| number >= limit)
            && self.at_most.is_none_or(|limit| number <= limit)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        ];
        let given = all.iter().filter_map(|(word, limit)| Some((word, (*limit)?)));
        for (at, (word, limit)) in given.enumerate() {
            write!(f, "{}{word} {limit}", if at == 0 { "" } else { " and " })?;
        }
        Ok(())
    }
}

/// How much a number may grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// By less than this share of what it was, 1.0 being all of it.
    Share(f64),
    /// By less than this amount.
    Amount(f64),
}

impl Growth {
    /// Whether a number grew by less.
    pub fn accepts(self, first: f64, now: f64) -> bool {
        let grown = now - first;
        match self {
            Self::Share(share) => grown < first.abs() * share,
            Self::Amount(amount) => grown < amount,
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Amount(amount) => write!(f, "{amount}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_limits_count() {
        let bounds = Bounds { at_least: Some(1.0), below: Some(3.0), ..Bounds::default() };
        let accepted: Vec<bool> = [0.9, 1.0, 2.9, 3.0].map(|n| bounds.accept(n)).into();
        assert_eq!(accepted, [false, true, true, false]);
        assert_eq!(bounds.to_string(), "at least 1 and below 3");
        assert!(!bounds.accept(f64::NAN));
    }

    #[test]
    fn growth_is_relative_or_absolute() {
        assert!(Growth::Share(0.2).accepts(100.0, 119.0));
        assert!(!Growth::Share(0.2).accepts(100.0, 120.0));
        assert!(Growth::Share(0.2).accepts(100.0, 10.0), "shrinking is not growing");
        assert!(Growth::Amount(5.0).accepts(0.0, 4.0) && !Growth::Amount(5.0).accepts(0.0, 5.0));
    }
}
