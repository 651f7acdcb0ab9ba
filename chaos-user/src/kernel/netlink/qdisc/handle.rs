//! The address of a qdisc or a class: `major:minor`.

use std::fmt;
use std::str::FromStr;

use netlink_packet_route::tc::TcHandle;
use serde::{Deserialize, Serialize};

/// The handle of a qdisc (`8001:`) or of a class (`8001:2a`), in hexadecimal as `tc` writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// No handle: the kernel chooses one, or the qdisc is one it made by itself.
    pub const UNSPEC: Self = Self(0);
    /// As a parent: the root of the device.
    pub const ROOT: Self = Self(0xffff_ffff);
    /// The fixed handle of clsact and ingress.
    pub const INGRESS: Self = Self(0xffff_0000);
    /// The fixed parent of clsact and ingress.
    pub const INGRESS_PARENT: Self = Self(0xffff_fff1);

    /// `major:minor`
    pub const fn new(major: u16, minor: u16) -> Self {
        Self((major as u32) << 16 | minor as u32)
    }

    /// The handle of a qdisc, `major:`.
    pub const fn qdisc(major: u16) -> Self {
        Self::new(major, 0)
    }

    /// The number of the qdisc.
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The number of the class in its qdisc; 0 for the qdisc itself.
    pub const fn minor(self) -> u16 {
        self.0 as u16
    }

    /// As one number, as `skb->priority` carries it.
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// Whether the kernel made the qdisc that has this handle by itself.
    pub const fn is_unspecified(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.minor()) {
            (Self::ROOT, _) => f.write_str("root"),
            (_, 0) => write!(f, "{:x}:", self.major()),
            (_, minor) => write!(f, "{:x}:{minor:x}", self.major()),
        }
    }
}

/// The text is not `root`, `major:` or `major:minor` in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no handle: expected major:minor in hexadecimal")]
pub struct ParseHandleError(String);

impl FromStr for Handle {
    type Err = ParseHandleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "root" {
            return Ok(Self::ROOT);
        }
        let part = |digits: &str| match digits {
            "" => Some(0),
            _ if digits.starts_with('+') => None,
            _ => u16::from_str_radix(digits, 16).ok(),
        };
        text.split_once(':')
            .and_then(|(major, minor)| Some(Self::new(part(major)?, part(minor)?)))
            .ok_or_else(|| ParseHandleError(text.to_owned()))
    }
}

impl Serialize for Handle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Handle> for TcHandle {
    fn from(handle: Handle) -> Self {
        handle.0.into()
    }
}

impl From<TcHandle> for Handle {
    fn from(handle: TcHandle) -> Self {
        Self(handle.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_as_tc_does() {
        assert_eq!(Handle::new(0x8001, 0x2a).to_string(), "8001:2a");
        assert_eq!(Handle::qdisc(0x10).to_string(), "10:");
        assert_eq!(Handle::ROOT.to_string(), "root");
        for bad in ["", "1", "1:2:3", "g:", "12345:", ":+1"] {
            assert!(bad.parse::<Handle>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(raw: u32) {
            prop_assert_eq!(Handle(raw).to_string().parse(), Ok(Handle(raw)));
            prop_assert_eq!(Handle::from(TcHandle::from(Handle(raw))), Handle(raw));
        }
    }
}
