//! Ports, one or a range.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::text::serde_as_text;

const WHAT: &str = "a port";

/// One port or an inclusive range of ports, 1 to 65535. Port 0 is refused: it stands for "any" in
/// socket calls and is on no packet that a service would answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// From both ends, inclusive; refuses port 0 and a range that ends before it begins.
    pub fn new(first: u16, last: u16) -> Result<Self, UnitError> {
        if first == 0 || last == 0 {
            return Err(zero("0"));
        }
        if first > last {
            let given = format!("{first}-{last}");
            return Err(UnitError::BackwardRange { given, suggestion: format!("{last}-{first}") });
        }
        Ok(Self { first, last })
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port, which belongs to the range.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "443" });
        }
        if trimmed.starts_with('-') {
            return Err(UnitError::Negative { what: WHAT, given: text.to_owned() });
        }
        let (first, last) = trimmed.split_once('-').unwrap_or((trimmed, trimmed));
        Self::new(port(text, first)?, port(text, last)?)
    }
}

fn port(given: &str, text: &str) -> Result<u16, UnitError> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UnitError::UnknownWord {
            what: WHAT,
            given: given.to_owned(),
            nearest: None,
            valid: "a number such as `443` and a range such as `8000-8080`",
        });
    }
    match digits.parse::<u16>() {
        Ok(0) => Err(zero(given)),
        Ok(port) => Ok(port),
        Err(_) => Err(UnitError::TooLarge { what: WHAT, given: given.to_owned(), most: "65535" }),
    }
}

fn zero(given: &str) -> UnitError {
    UnitError::Zero {
        what: WHAT,
        given: given.to_owned(),
        why: "no packet of a service carries port 0; leave the option out to match every port",
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            f.pad(&self.first.to_string())
        } else {
            f.pad(&format!("{}-{}", self.first, self.last))
        }
    }
}

serde_as_text!(PortRange, "a port such as `443` or a range such as `8000-8080`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<PortRange>().unwrap_err().to_string()
    }

    #[test]
    fn reads_ports_and_ranges() {
        assert_eq!("443".parse(), Ok(PortRange { first: 443, last: 443 }));
        assert_eq!("8000 - 8080".parse(), Ok(PortRange { first: 8000, last: 8080 }));
        assert_eq!("1-65535".parse(), Ok(PortRange { first: 1, last: 65535 }));
        assert_eq!(serde_json::from_str::<PortRange>("443").unwrap().to_string(), "443");
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("0"), @"`0` is not a port: no packet of a service carries port 0; leave the option out to match every port");
        insta::assert_snapshot!(refused("65536"), @"`65536` is too large for a port: the most is 65535");
        insta::assert_snapshot!(refused("90-80"), @"`90-80` is not a port range: it ends before it begins; did you mean `80-90`?");
        insta::assert_snapshot!(refused("http"), @"`http` is not a port; valid are a number such as `443` and a range such as `8000-8080`");
        insta::assert_snapshot!(refused("80-"), @"`80-` is not a port; valid are a number such as `443` and a range such as `8000-8080`");
        insta::assert_snapshot!(refused("-80"), @"`-80` is not a port: it must not be negative");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(a in 1..=u16::MAX, b in 1..=u16::MAX, probe: u16) {
            let range = PortRange::new(a.min(b), a.max(b)).unwrap();
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert_eq!(range.contains(probe), (a.min(b)..=a.max(b)).contains(&probe));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9 -]{0,14}") {
            let _ = text.parse::<PortRange>();
        }
    }
}
