//! An address or a network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::UnitError;
use super::text::serde_as_text;

/// A network in CIDR form; a single address is a network of its full length. No bit behind the
/// length is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// A network; refuses a length longer than the family's addresses and bits set behind it.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, UnitError> {
        let most = width(address);
        if len > most {
            return Err(UnitError::PrefixLength { given: format!("{address}/{len}"), most });
        }
        let network = masked(address, len);
        if network != address {
            let given = format!("{address}/{len}");
            return Err(UnitError::HostBits { given, network, host: address, len });
        }
        Ok(Self { address, len })
    }

    /// The network that holds `address`: bits behind `len` are cleared. A length longer than the
    /// family's addresses gives the one address.
    pub fn network(address: IpAddr, len: u8) -> Self {
        let len = len.min(width(address));
        Self { address: masked(address, len), len }
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Self {
        Self { address, len: width(address) }
    }

    /// The network's first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that count: 0 ..= 32 for IPv4, 0 ..= 128 for IPv6.
    pub const fn length(self) -> u8 {
        self.len
    }

    /// Whether it is an IPv4 network.
    pub const fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether it is one address.
    pub const fn is_host(self) -> bool {
        self.len == width(self.address)
    }

    /// Whether `address` belongs to the network; never across families.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.len) == self.address
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self::host(address)
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for Prefix {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(UnitError::Empty { what: "an address", example: "10.0.0.0/24" });
        }
        let (address_text, len_text) = match trimmed.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (trimmed, None),
        };
        let address: IpAddr = address_text
            .parse()
            .map_err(|_| UnitError::NotAnAddress { given: text.to_owned(), hint: hint(trimmed) })?;
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            let ipv4 = match len_text.map(str::parse::<u8>) {
                Some(Ok(len @ 96..=128)) => format!("{v4}/{}", len - 96),
                _ => v4.to_string(),
            };
            return Err(UnitError::MappedAddress { given: text.to_owned(), ipv4 });
        }
        let Some(len_text) = len_text else { return Ok(address.into()) };
        let most = width(address);
        let digits = !len_text.is_empty() && len_text.bytes().all(|b| b.is_ascii_digit());
        let len = len_text.parse::<u8>().ok().filter(|len| digits && *len <= most);
        let len = len.ok_or_else(|| UnitError::PrefixLength { given: text.to_owned(), most })?;
        Self::new(address, len)
    }
}

/// What the writer may have had in mind.
fn hint(text: &str) -> Option<&'static str> {
    if text.starts_with('[') {
        Some("write IPv6 addresses without brackets, and the port as a port")
    } else if text.contains('%') {
        Some("leave the scope out and choose the device instead")
    } else if text.contains(':') && text.contains('.') {
        Some("the port is a selector of its own")
    } else if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
        Some("names are not looked up: a packet carries an address")
    } else {
        None
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            f.pad(&self.address.to_string())
        } else {
            f.pad(&format!("{}/{}", self.address, self.len))
        }
    }
}

serde_as_text!(Prefix, "an address or a prefix such as `10.0.0.0/24`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Prefix>().unwrap_err().to_string()
    }

    #[test]
    fn reads_both_families() {
        for text in ["10.0.0.7", "10.0.0.0/24", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.7/32".parse::<Prefix>().unwrap().to_string(), "10.0.0.7");
        let net: Prefix = "10.0.0.0/30".parse().unwrap();
        assert!(net.contains([10, 0, 0, 3].into()) && !net.contains([10, 0, 0, 4].into()));
        assert!(!net.contains("::a00:1".parse().unwrap()));
    }

    #[test]
    fn explains_what_it_refuses() {
        insta::assert_snapshot!(refused("10.0.0.7/24"), @"`10.0.0.7/24` is not a prefix: bits are set behind /24; did you mean the network `10.0.0.0/24` or the host `10.0.0.7`?");
        insta::assert_snapshot!(refused("2001:db8::1/64"), @"`2001:db8::1/64` is not a prefix: bits are set behind /64; did you mean the network `2001:db8::/64` or the host `2001:db8::1`?");
        insta::assert_snapshot!(refused("10.0.0.0/33"), @"`10.0.0.0/33` is not a prefix: its length must be a number from 0 to 32");
        insta::assert_snapshot!(refused("::/"), @"`::/` is not a prefix: its length must be a number from 0 to 128");
        insta::assert_snapshot!(refused("localhost"), @"`localhost` is not an address or a prefix; write for example `10.0.0.7`, `10.0.0.0/24` or `2001:db8::/32` (names are not looked up: a packet carries an address)");
        insta::assert_snapshot!(refused("10.0.0.1:80"), @"`10.0.0.1:80` is not an address or a prefix; write for example `10.0.0.7`, `10.0.0.0/24` or `2001:db8::/32` (the port is a selector of its own)");
        insta::assert_snapshot!(refused("fe80::1%eth0"), @"`fe80::1%eth0` is not an address or a prefix; write for example `10.0.0.7`, `10.0.0.0/24` or `2001:db8::/32` (leave the scope out and choose the device instead)");
        insta::assert_snapshot!(refused("::ffff:10.0.0.1"), @"`::ffff:10.0.0.1` is an IPv4 address in IPv6 notation, and packets carry it as IPv4; write `10.0.0.1`");
        insta::assert_snapshot!(refused("10.0.0.256"), @"`10.0.0.256` is not an address or a prefix; write for example `10.0.0.7`, `10.0.0.0/24` or `2001:db8::/32`");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(address: IpAddr, len in 0..=128_u8) {
            prop_assume!(!matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()));
            let prefix = Prefix::network(address, len);
            prop_assert!(prefix.contains(address));
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9a-f.:/%]{0,24}") {
            let _ = text.parse::<Prefix>();
        }
    }
}
