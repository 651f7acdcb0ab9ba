//! An amount of data.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::decimal::{self, Decimal, DecimalError};
use super::text::{nearest, serde_as_text};

const WHAT: &str = "a size";
const VALID: &str = "B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024)";
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// An amount of data in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

impl Bytes {
    /// From bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let given = || text.to_owned();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "64MiB" });
        }
        if trimmed.starts_with('-') {
            return Err(UnitError::Negative { what: WHAT, given: given() });
        }
        let too_large = || UnitError::TooLarge { what: WHAT, given: given(), most: "16777215TiB" };
        let too_fine = || UnitError::TooFine { what: WHAT, given: given(), step: "1B" };
        let (number, unit) = decimal::split(trimmed);
        let value = Decimal::parse(number).map_err(|error| match error {
            DecimalError::Malformed => {
                UnitError::NotANumber { what: WHAT, given: given(), example: "64MiB" }
            }
            DecimalError::TooLarge => too_large(),
            DecimalError::TooFine => too_fine(),
        })?;
        let unit = unit.trim();
        // An empty disk or a file of no bytes is the same in every unit.
        let zero = value.times(1) == Ok(0) && unit.is_empty();
        let scale = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let scale = match scale {
            _ if zero => 1,
            Some((_, scale)) => *scale,
            None if unit.is_empty() => {
                let suggestion = format!("`{trimmed}B` or `{trimmed}MiB`");
                return Err(UnitError::NoUnit { what: WHAT, given: given(), suggestion });
            }
            None => {
                // `64M` is 64 MB to some tools and 64 MiB to others.
                let prefixed = |end: &str| format!("{unit}{end}").to_lowercase();
                let known = |name: &str| UNITS.iter().any(|(u, _)| u.to_lowercase() == name);
                if known(&prefixed("b")) && known(&prefixed("ib")) {
                    let prefix = if unit.eq_ignore_ascii_case("k") { "k" } else { unit };
                    return Err(UnitError::Ambiguous {
                        given: given(),
                        why: "some read it as a power of 1000 and some of 1024",
                        choices: format!(
                            "`{number}{prefix}B` for the one or `{number}{}iB` for the other",
                            unit.to_uppercase()
                        ),
                    });
                }
                return Err(UnitError::UnknownUnit {
                    what: WHAT,
                    given: given(),
                    unit: unit.to_owned(),
                    nearest: nearest(unit, UNITS.map(|(name, _)| name)),
                    valid: VALID,
                });
            }
        };
        let bytes = value.times(scale).map_err(|error| match error {
            DecimalError::TooFine => too_fine(),
            DecimalError::TooLarge | DecimalError::Malformed => too_large(),
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u64| self.0 >= unit && self.0.is_multiple_of(unit);
        let (name, unit) = UNITS.iter().find(|(_, unit)| whole(*unit)).unwrap_or(&("B", 1));
        f.pad(&format!("{}{name}", self.0 / unit))
    }
}

serde_as_text!(Bytes, "a size such as `64MiB`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Bytes>().unwrap_err().to_string()
    }

    #[test]
    fn tells_powers_of_1000_from_powers_of_1024() {
        for (text, bytes) in [
            ("1MiB", 1 << 20),
            ("1mib", 1 << 20),
            ("1.5kB", 1_500),
            ("10MB", 10_000_000),
            ("0", 0),
            ("512B", 512),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("10"), @"`10` is not a size: it has no unit; did you mean `10B` or `10MiB`?");
        insta::assert_snapshot!(refused("10M"), @"`10M` is ambiguous: some read it as a power of 1000 and some of 1024; write `10MB` for the one or `10MiB` for the other");
        insta::assert_snapshot!(refused("1MiBs"), @"`1MiBs` is not a size: unknown unit `MiBs`; did you mean `MiB`?; valid units are B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024)");
        insta::assert_snapshot!(refused("much"), @"`much` is not a size: it must be a decimal number and a unit, such as `64MiB`");
        insta::assert_snapshot!(refused("0.1B"), @"`0.1B` is too fine for a size: the smallest step is 1B");
        insta::assert_snapshot!(refused("99999999TiB"), @"`99999999TiB` is too large for a size: the most is 16777215TiB");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in any::<u64>(), shift in 0..64_u32) {
            let size = Bytes(bytes >> shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9.]{0,25}[kKmMgGtTiIbB ]{0,5}") {
            let _ = text.parse::<Bytes>();
        }
    }
}
