//! A share of something.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::decimal::{self, Decimal, DecimalError};
use super::text::serde_as_text;

const WHAT: &str = "a percentage";
/// Parts per billion in one per cent.
const PPB_PER_PERCENT: u64 = 10_000_000;

/// A share from 0 % to 100 %, held exactly in parts per billion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(1_000_000_000);

    /// From parts per billion; `None` above 1 000 000 000.
    pub const fn from_ppb(ppb: u32) -> Option<Self> {
        if ppb <= Self::ALL.0 { Some(Self(ppb)) } else { None }
    }

    /// Parts per billion, 0 ..= 1 000 000 000.
    pub const fn ppb(self) -> u32 {
        self.0
    }

    /// The same as a fraction, 0.0 ..= 1.0.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let given = || text.to_owned();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "10%" });
        }
        if trimmed.starts_with('-') {
            return Err(UnitError::Negative { what: WHAT, given: given() });
        }
        let (number, unit) = decimal::split(trimmed);
        let number = Decimal::parse(number).map_err(|error| match error {
            DecimalError::Malformed => {
                UnitError::NotANumber { what: WHAT, given: given(), example: "10%" }
            }
            DecimalError::TooLarge => too_large(text),
            DecimalError::TooFine => too_fine(text),
        })?;
        match unit.trim_start() {
            "%" => {}
            "" => return Err(no_unit(trimmed, number)),
            other => {
                return Err(UnitError::UnknownUnit {
                    what: WHAT,
                    given: given(),
                    unit: other.to_owned(),
                    nearest: None,
                    valid: "%",
                });
            }
        }
        let ppb = number.times(PPB_PER_PERCENT).map_err(|error| match error {
            DecimalError::TooFine => too_fine(text),
            DecimalError::TooLarge | DecimalError::Malformed => too_large(text),
        })?;
        u32::try_from(ppb).ok().and_then(Self::from_ppb).ok_or_else(|| too_large(text))
    }
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge { what: WHAT, given: text.to_owned(), most: "100%" }
}

fn too_fine(text: &str) -> UnitError {
    UnitError::TooFine { what: WHAT, given: text.to_owned(), step: "0.0000001%" }
}

/// `0.1` may be a fraction (10 %) or a percentage (0.1 %): offer both.
fn no_unit(given: &str, number: Decimal) -> UnitError {
    let as_fraction = number.times(100 * PPB_PER_PERCENT).ok().filter(|_| !number.is_whole());
    let suggestion = match as_fraction {
        Some(ppb) if ppb < u64::from(Percent::ALL.0) => {
            format!("`{given}%` or `{}%`", decimal::write(ppb, PPB_PER_PERCENT))
        }
        _ => format!("`{given}%`"),
    };
    UnitError::NoUnit { what: WHAT, given: given.to_owned(), suggestion }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", decimal::write(u64::from(self.0), PPB_PER_PERCENT)))
    }
}

serde_as_text!(Percent, "a percentage such as `10%`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Percent>().unwrap_err().to_string()
    }

    #[test]
    fn reads_exactly() {
        assert_eq!("10%".parse(), Ok(Percent(100_000_000)));
        assert_eq!("0.05 %".parse(), Ok(Percent(500_000)));
        assert_eq!("100%".parse(), Ok(Percent::ALL));
        assert_eq!("0%".parse(), Ok(Percent::ZERO));
        assert_eq!("0.0000001%".parse(), Ok(Percent(1)));
        assert_eq!(serde_json::from_str::<Percent>("\"2.5%\"").unwrap().to_string(), "2.5%");
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("10"), @"`10` is not a percentage: it has no unit; did you mean `10%`?");
        insta::assert_snapshot!(refused("0.1"), @"`0.1` is not a percentage: it has no unit; did you mean `0.1%` or `10%`?");
        insta::assert_snapshot!(refused("101%"), @"`101%` is too large for a percentage: the most is 100%");
        insta::assert_snapshot!(refused("0.00000001%"), @"`0.00000001%` is too fine for a percentage: the smallest step is 0.0000001%");
        insta::assert_snapshot!(refused("-5%"), @"`-5%` is not a percentage: it must not be negative");
        insta::assert_snapshot!(refused("10 percent"), @"`10 percent` is not a percentage: unknown unit `percent`; valid units are %");
        insta::assert_snapshot!(refused("ten%"), @"`ten%` is not a percentage: it must be a decimal number and a unit, such as `10%`");
        insta::assert_snapshot!(refused(" "), @"a percentage is missing; write for example `10%`");
        let bare = serde_json::from_str::<Percent>("10").unwrap_err().to_string();
        assert!(bare.contains("did you mean `10%`?"), "{bare}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ppb in 0..=1_000_000_000_u32) {
            let percent = Percent::from_ppb(ppb).unwrap();
            prop_assert_eq!(percent.to_string().parse(), Ok(percent));
            let json = serde_json::to_string(&percent).unwrap();
            prop_assert_eq!(serde_json::from_str::<Percent>(&json).unwrap(), percent);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9.]*%?") {
            let _ = text.parse::<Percent>();
        }
    }
}
