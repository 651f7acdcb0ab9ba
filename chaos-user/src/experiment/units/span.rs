//! A length of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::UnitError;
use super::decimal::{self, Decimal, DecimalError};
use super::text::{nearest, serde_as_text};

const WHAT: &str = "a duration";
const VALID: &str = "ns, us, ms, s, m (minutes) and h";
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A length of time in whole nanoseconds, from zero to 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// From milliseconds; saturates.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// From seconds; saturates.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The same for the standard library.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl From<Duration> for Span {
    /// Saturates at 584 years.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    /// Reads one quantity (`1.5s`) or several with falling units (`1h30m`).
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let given = || text.to_owned();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "30s" });
        }
        if rest.starts_with('-') {
            return Err(UnitError::Negative { what: WHAT, given: given() });
        }
        let mut total = 0_u64;
        let mut above = u64::MAX;
        while !rest.is_empty() {
            let (number, tail) = decimal::split(rest);
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            rest = tail;
            let too_large = || UnitError::TooLarge { what: WHAT, given: given(), most: "5124095h" };
            let too_fine = || UnitError::TooFine { what: WHAT, given: given(), step: "1ns" };
            let number = Decimal::parse(number).map_err(|error| match error {
                DecimalError::Malformed => {
                    UnitError::NotANumber { what: WHAT, given: given(), example: "30s" }
                }
                DecimalError::TooLarge => too_large(),
                DecimalError::TooFine => too_fine(),
            })?;
            let ns = unit_of(text, unit.trim())?;
            if ns >= above {
                return Err(UnitError::UnitOrder { what: WHAT, given: given() });
            }
            above = ns;
            let part = number.times(ns).map_err(|error| match error {
                DecimalError::TooFine => too_fine(),
                DecimalError::TooLarge | DecimalError::Malformed => too_large(),
            })?;
            total = total.checked_add(part).ok_or_else(too_large)?;
        }
        Ok(Self(total))
    }
}

fn unit_of(given: &str, unit: &str) -> Result<u64, UnitError> {
    let wanted = if unit == "µs" || unit == "μs" { "us" } else { unit };
    if let Some((_, ns)) = UNITS.iter().find(|(name, _)| *name == wanted) {
        return Ok(*ns);
    }
    if unit.is_empty() {
        let number = given.trim();
        return Err(UnitError::NoUnit {
            what: WHAT,
            given: given.to_owned(),
            suggestion: format!("`{number}s` or `{number}ms`"),
        });
    }
    let meant = match unit.to_lowercase().trim_end_matches(['.', 's']) {
        "sec" | "second" => Some("s"),
        "min" | "minute" => Some("m"),
        "hr" | "hour" => Some("h"),
        "msec" | "milli" | "millisecond" => Some("ms"),
        "usec" | "microsecond" => Some("us"),
        "nsec" | "nanosecond" => Some("ns"),
        _ => nearest(unit, UNITS.map(|(name, _)| name)),
    };
    let meant = meant.and_then(|word| UNITS.iter().find(|(name, _)| *name == word));
    Err(UnitError::UnknownUnit {
        what: WHAT,
        given: given.to_owned(),
        unit: unit.to_owned(),
        nearest: meant.map(|(name, _)| *name),
        valid: VALID,
    })
}

impl fmt::Display for Span {
    /// The largest unit that gives a whole number, else decimals of the largest unit of seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        if ns == 0 {
            return f.pad("0s");
        }
        let (name, unit) = UNITS
            .iter()
            .find(|(name, unit)| match *name {
                "h" | "m" => ns.is_multiple_of(*unit),
                _ => ns >= *unit,
            })
            .unwrap_or(&("ns", 1));
        f.pad(&match *name {
            "h" | "m" => format!("{}{name}", ns / unit),
            _ => format!("{}{name}", decimal::write(ns, *unit)),
        })
    }
}

serde_as_text!(Span, "a duration such as `500ms` or `30s`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Span>().unwrap_err().to_string()
    }

    #[test]
    fn reads_what_people_write() {
        for (text, ns) in [
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            ("30 s", 30_000_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m 30s", 90_000_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("0s", 0),
            ("18446744073709551615ns", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Span(ns)), "{text}");
        }
    }

    #[test]
    fn writes_what_people_read() {
        for text in ["500ms", "1.5s", "90s", "2m", "1h", "100us", "1.000001s", "0s", "7ns"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("30"), @"`30` is not a duration: it has no unit; did you mean `30s` or `30ms`?");
        insta::assert_snapshot!(refused("-1s"), @"`-1s` is not a duration: it must not be negative");
        insta::assert_snapshot!(refused("5sec"), @"`5sec` is not a duration: unknown unit `sec`; did you mean `s`?; valid units are ns, us, ms, s, m (minutes) and h");
        insta::assert_snapshot!(refused("5MS"), @"`5MS` is not a duration: unknown unit `MS`; did you mean `ms`?; valid units are ns, us, ms, s, m (minutes) and h");
        insta::assert_snapshot!(refused("1d"), @"`1d` is not a duration: unknown unit `d`; valid units are ns, us, ms, s, m (minutes) and h");
        insta::assert_snapshot!(refused("30s1m"), @"`30s1m` is not a duration: each unit may appear once, the largest first, as in `1m30s`");
        insta::assert_snapshot!(refused("0.5ns"), @"`0.5ns` is too fine for a duration: the smallest step is 1ns");
        insta::assert_snapshot!(refused("9999999h"), @"`9999999h` is too large for a duration: the most is 5124095h");
        insta::assert_snapshot!(refused("soon"), @"`soon` is not a duration: it must be a decimal number and a unit, such as `30s`");
        insta::assert_snapshot!(refused(""), @"a duration is missing; write for example `30s`");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ns in any::<u64>(), shift in 0..64_u32) {
            let span = Span::from_nanos(ns >> shift);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let json = serde_json::to_string(&span).unwrap();
            prop_assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), span);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|([0-9.]{0,25}[a-zµ ]{0,3}){0,3}") {
            let _ = text.parse::<Span>();
        }
    }
}
