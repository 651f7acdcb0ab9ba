//! What an IP packet carries.

use std::fmt;
use std::str::FromStr;

use super::UnitError;
use super::text::{nearest, serde_as_text};

const WHAT: &str = "a protocol";
const NAMES: [(&str, Protocol); 6] = [
    ("tcp", Protocol::TCP),
    ("udp", Protocol::UDP),
    ("icmp", Protocol::ICMP),
    ("icmpv6", Protocol::ICMPV6),
    ("sctp", Protocol::SCTP),
    ("dccp", Protocol::DCCP),
];

/// An IP protocol, by its number in the header (for IPv6: behind the extension headers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

impl Protocol {
    /// TCP, 6.
    pub const TCP: Self = Self(6);
    /// UDP, 17.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv4, 1.
    pub const ICMP: Self = Self(1);
    /// ICMP for IPv6, 58.
    pub const ICMPV6: Self = Self(58);
    /// DCCP, 33.
    pub const DCCP: Self = Self(33);
    /// SCTP, 132.
    pub const SCTP: Self = Self(132);

    /// From the number in the header.
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// The number in the header.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether its first four bytes are a source and a destination port.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP | Self::DCCP)
    }
}

impl FromStr for Protocol {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: WHAT, example: "tcp" });
        }
        if let Some((_, protocol)) = NAMES.iter().find(|(name, _)| *name == trimmed) {
            return Ok(*protocol);
        }
        if trimmed.bytes().all(|b| b.is_ascii_digit()) {
            return trimmed.parse().map(Self).map_err(|_| UnitError::TooLarge {
                what: WHAT,
                given: text.to_owned(),
                most: "255",
            });
        }
        let meant = match trimmed.to_lowercase().as_str() {
            "icmp6" | "ipv6-icmp" => Some("icmpv6"),
            "ping" | "icmp4" | "icmpv4" => Some("icmp"),
            "http" | "https" => Some("tcp"),
            "dns" | "quic" => Some("udp"),
            other => nearest(other, NAMES.map(|(name, _)| name)),
        };
        Err(UnitError::UnknownWord {
            what: WHAT,
            given: text.to_owned(),
            nearest: meant,
            valid: "tcp, udp, icmp, icmpv6, sctp, dccp and a protocol number from 0 to 255",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, protocol)| protocol == self) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

serde_as_text!(Protocol, "a protocol such as `tcp`");

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Protocol>().unwrap_err().to_string()
    }

    #[test]
    fn every_number_reads_back() {
        for number in 0..=u8::MAX {
            let protocol = Protocol::from_number(number);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            assert_eq!(number.to_string().parse(), Ok(protocol));
        }
        assert_eq!(serde_json::from_str::<Protocol>("17").unwrap(), Protocol::UDP);
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("tpc"), @"`tpc` is not a protocol; did you mean `tcp`?; valid are tcp, udp, icmp, icmpv6, sctp, dccp and a protocol number from 0 to 255");
        insta::assert_snapshot!(refused("TCP"), @"`TCP` is not a protocol; did you mean `tcp`?; valid are tcp, udp, icmp, icmpv6, sctp, dccp and a protocol number from 0 to 255");
        insta::assert_snapshot!(refused("icmp6"), @"`icmp6` is not a protocol; did you mean `icmpv6`?; valid are tcp, udp, icmp, icmpv6, sctp, dccp and a protocol number from 0 to 255");
        insta::assert_snapshot!(refused("300"), @"`300` is too large for a protocol: the most is 255");
    }
}
