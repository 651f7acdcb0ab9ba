//! The one error of all unit parsers.

use std::fmt;
use std::net::IpAddr;

/// Why a quantity was refused. The text is meant to be printed after the name of the option or
/// the place in the file that held it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message of each variant shows")]
pub enum UnitError {
    /// Nothing was given.
    #[error("{what} is missing; write for example `{example}`")]
    Empty { what: &'static str, example: &'static str },
    /// A number without a unit.
    #[error("`{given}` is not {what}: it has no unit; did you mean {suggestion}?")]
    NoUnit { what: &'static str, given: String, suggestion: String },
    /// A unit that this quantity does not have.
    #[error(
        "`{given}` is not {what}: unknown unit `{unit}`{}; valid units are {valid}",
        DidYouMean(*nearest)
    )]
    UnknownUnit {
        what: &'static str,
        given: String,
        unit: String,
        nearest: Option<&'static str>,
        valid: &'static str,
    },
    /// A unit that means different things to different tools.
    #[error("`{given}` is ambiguous: {why}; write {choices}")]
    Ambiguous { given: String, why: &'static str, choices: String },
    /// The number in front of the unit is none.
    #[error("`{given}` is not {what}: it must be a decimal number and a unit, such as `{example}`")]
    NotANumber { what: &'static str, given: String, example: &'static str },
    /// Below zero.
    #[error("`{given}` is not {what}: it must not be negative")]
    Negative { what: &'static str, given: String },
    /// Above what the quantity can hold.
    #[error("`{given}` is too large for {what}: the most is {most}")]
    TooLarge { what: &'static str, given: String, most: &'static str },
    /// More digits than the quantity can hold.
    #[error("`{given}` is too fine for {what}: the smallest step is {step}")]
    TooFine { what: &'static str, given: String, step: &'static str },
    /// Zero where it makes no sense.
    #[error("`{given}` is not {what}: {why}")]
    Zero { what: &'static str, given: String, why: &'static str },
    /// Parts of a compound duration out of order, such as `30s1m`.
    #[error("`{given}` is not {what}: each unit may appear once, the largest first, as in `1m30s`")]
    UnitOrder { what: &'static str, given: String },
    /// Not a word of a closed list.
    #[error("`{given}` is not {what}{}; valid are {valid}", DidYouMean(*nearest))]
    UnknownWord {
        what: &'static str,
        given: String,
        nearest: Option<&'static str>,
        valid: &'static str,
    },
    /// A port range that ends before it begins.
    #[error(
        "`{given}` is not a port range: it ends before it begins; did you mean `{suggestion}`?"
    )]
    BackwardRange { given: String, suggestion: String },
    /// Not an address at all.
    #[error(
        "`{given}` is not an address or a prefix; write for example `10.0.0.7`, `10.0.0.0/24` or \
         `2001:db8::/32`{}",
        Hint(*hint)
    )]
    NotAnAddress { given: String, hint: Option<&'static str> },
    /// A prefix length that is no number or too long for the family.
    #[error("`{given}` is not a prefix: its length must be a number from 0 to {most}")]
    PrefixLength { given: String, most: u8 },
    /// Bits set behind the prefix length.
    #[error(
        "`{given}` is not a prefix: bits are set behind /{len}; did you mean the network \
         `{network}/{len}` or the host `{host}`?"
    )]
    HostBits { given: String, network: IpAddr, host: IpAddr, len: u8 },
    /// An IPv4 address in IPv6 notation, which no packet carries.
    #[error(
        "`{given}` is an IPv4 address in IPv6 notation, and packets carry it as IPv4; write `{ipv4}`"
    )]
    MappedAddress { given: String, ipv4: String },
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, "; did you mean `{word}`?"))
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}
