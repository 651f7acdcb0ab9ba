//! A bandwidth.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::decimal::{self, Decimal, DecimalError};
use super::text::{nearest, serde_as_text};

const WHAT: &str = "a rate";
const VALID: &str = "bit, kbit, mbit, gbit, tbit (per second) and B/s, kB/s, MB/s, GB/s";
const BIT_UNITS: [(&str, u64); 5] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];
/// Bits in each byte unit, spelt in lower case; the `B` itself must be a capital.
const BYTE_UNITS: [(&str, u64); 5] =
    [("tb", 8_000_000_000_000), ("gb", 8_000_000_000), ("mb", 8_000_000), ("kb", 8_000), ("b", 8)];

/// A bandwidth in bits per second, at least one. Prefixes are powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// From bits per second; `None` for zero.
    pub const fn from_bits(bits_per_second: u64) -> Option<Self> {
        if bits_per_second == 0 { None } else { Some(Self(bits_per_second)) }
    }

    /// Bits per second, at least 1.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whole bytes per second, rounded down but at least 1, as kernel interfaces count them.
    pub const fn bytes(self) -> u64 {
        if self.0 < 8 { 1 } else { self.0 / 8 }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let given = || text.to_owned();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "10mbit" });
        }
        if trimmed.starts_with('-') {
            return Err(UnitError::Negative { what: WHAT, given: given() });
        }
        let too_large = || UnitError::TooLarge { what: WHAT, given: given(), most: "18446744tbit" };
        let too_fine = || UnitError::TooFine { what: WHAT, given: given(), step: "1bit" };
        let (number, unit) = decimal::split(trimmed);
        let value = Decimal::parse(number).map_err(|error| match error {
            DecimalError::Malformed => {
                UnitError::NotANumber { what: WHAT, given: given(), example: "10mbit" }
            }
            DecimalError::TooLarge => too_large(),
            DecimalError::TooFine => too_fine(),
        })?;
        let scale = unit_of(trimmed, number, unit.trim())?;
        let bits = value.times(scale).map_err(|error| match error {
            DecimalError::TooFine => too_fine(),
            DecimalError::TooLarge | DecimalError::Malformed => too_large(),
        })?;
        Self::from_bits(bits).ok_or_else(|| UnitError::Zero {
            what: WHAT,
            given: given(),
            why: "nothing would ever pass; to stop traffic, use drop or a partition",
        })
    }
}

fn unit_of(given: &str, number: &str, unit: &str) -> Result<u64, UnitError> {
    let lower = unit.to_lowercase();
    let scale = |table: &[(&str, u64)], name: &str| {
        table.iter().find(|(unit, _)| *unit == name).map(|(_, bits)| *bits)
    };
    let bare = lower.strip_suffix("/s").unwrap_or(&lower);
    let bit_name = bare.strip_suffix("ps").filter(|b| b.ends_with("bit")).unwrap_or(bare);
    if let Some(bits) = scale(&BIT_UNITS, bit_name) {
        return Ok(bits);
    }
    let capital_b = unit.strip_suffix("/s").unwrap_or(unit).ends_with('B');
    if capital_b && let Some(bits) = scale(&BYTE_UNITS, bare) {
        return Ok(bits);
    }
    let ambiguous = |prefix: &str, why| UnitError::Ambiguous {
        given: given.to_owned(),
        why,
        choices: format!(
            "`{number}{prefix}bit` for bits or `{number}{}B/s` for bytes per second",
            match prefix {
                "k" | "" => prefix.to_owned(),
                other => other.to_uppercase(),
            }
        ),
    };
    if let Some(prefix) = bare.strip_suffix("bps").or_else(|| bare.strip_suffix('b'))
        && matches!(prefix, "" | "k" | "m" | "g" | "t")
    {
        let why = if bare.ends_with("bps") {
            "`bps` is bytes per second to tc and bits per second to most others"
        } else {
            "a small `b` is read as bit or as byte"
        };
        return Err(ambiguous(prefix, why));
    }
    if matches!(bare, "" | "k" | "m" | "g" | "t") {
        return Err(ambiguous(bare, "it says neither bit nor byte"));
    }
    Err(UnitError::UnknownUnit {
        what: WHAT,
        given: given.to_owned(),
        unit: unit.to_owned(),
        nearest: nearest(bare, BIT_UNITS.map(|(name, _)| name)),
        valid: VALID,
    })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) =
            BIT_UNITS.iter().find(|(_, unit)| self.0 >= *unit).unwrap_or(&("bit", 1));
        f.pad(&format!("{}{name}", decimal::write(self.0, *unit)))
    }
}

serde_as_text!(Rate, "a rate such as `10mbit`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Rate>().unwrap_err().to_string()
    }

    #[test]
    fn tells_bits_from_bytes() {
        for (text, bits) in [
            ("1mbit", 1_000_000),
            ("10Mbit/s", 10_000_000),
            ("1.5gbit", 1_500_000_000),
            ("256kbit", 256_000),
            ("256kbitps", 256_000),
            ("100kB/s", 800_000),
            ("1MB/s", 8_000_000),
            ("1B/s", 8),
            ("8bit", 8),
        ] {
            assert_eq!(text.parse(), Ok(Rate(bits)), "{text}");
        }
        assert_eq!(Rate(7).bytes(), 1);
        assert_eq!(Rate(800).bytes(), 100);
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("10"), @"`10` is ambiguous: it says neither bit nor byte; write `10bit` for bits or `10B/s` for bytes per second");
        insta::assert_snapshot!(refused("10M"), @"`10M` is ambiguous: it says neither bit nor byte; write `10mbit` for bits or `10MB/s` for bytes per second");
        insta::assert_snapshot!(refused("10kbps"), @"`10kbps` is ambiguous: `bps` is bytes per second to tc and bits per second to most others; write `10kbit` for bits or `10kB/s` for bytes per second");
        insta::assert_snapshot!(refused("10mb/s"), @"`10mb/s` is ambiguous: a small `b` is read as bit or as byte; write `10mbit` for bits or `10MB/s` for bytes per second");
        insta::assert_snapshot!(refused("10mbits"), @"`10mbits` is not a rate: unknown unit `mbits`; did you mean `mbit`?; valid units are bit, kbit, mbit, gbit, tbit (per second) and B/s, kB/s, MB/s, GB/s");
        insta::assert_snapshot!(refused("0mbit"), @"`0mbit` is not a rate: nothing would ever pass; to stop traffic, use drop or a partition");
        insta::assert_snapshot!(refused("0.5bit"), @"`0.5bit` is too fine for a rate: the smallest step is 1bit");
        insta::assert_snapshot!(refused("99999999tbit"), @"`99999999tbit` is too large for a rate: the most is 18446744tbit");
        insta::assert_snapshot!(refused("fast"), @"`fast` is not a rate: it must be a decimal number and a unit, such as `10mbit`");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bits in any::<u64>(), shift in 0..64_u32) {
            let rate = Rate::from_bits((bits >> shift).max(1)).unwrap();
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9.]{0,25}[kKmMgGtTbBitps/ ]{0,7}") {
            let _ = text.parse::<Rate>();
        }
    }
}
