//! Protecting rules: endpoints that a host needs whatever is broken on purpose, and flows that a
//! user names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Action, Rule, Selector};
use crate::experiment::units::{Direction, PortRange, Prefix, nearest};

/// Endpoints that are exempt if asked, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// Name resolution: ports 53 and 853 of any server, and port 53 of a resolver on this host.
    Dns,
    /// The services by which clouds configure a machine.
    Metadata,
}

/// Their names.
pub const ENDPOINTS: [(&str, Endpoint); 2] =
    [("dns", Endpoint::Dns), ("metadata", Endpoint::Metadata)];

/// DNS, and DNS over TLS.
const DNS_PORTS: [u16; 2] = [53, 853];

/// Where resolvers on a host listen, systemd's among them.
const LOCAL_RESOLVERS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Amazon, Google and Azure; tasks of Amazon ECS; Azure's agent; Alibaba.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];
/// Amazon, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Endpoint {
    /// The rules that exempt it.
    pub fn rules(self) -> Vec<Rule> {
        let name = format!("protect {self}");
        match self {
            Self::Dns => {
                let ports: Vec<PortRange> =
                    DNS_PORTS.iter().filter_map(|&port| PortRange::new(port, port).ok()).collect();
                let servers = Selector { remote_ports: ports.clone(), ..Selector::default() };
                let own = Selector {
                    local: LOCAL_RESOLVERS.iter().copied().map(Prefix::host).collect(),
                    local_ports: ports,
                    ..Selector::default()
                };
                vec![
                    protecting(name.clone(), servers),
                    protecting(format!("{name} on this host"), own),
                ]
            }
            Self::Metadata => {
                let v4 = METADATA_V4.iter().map(|&address| IpAddr::from(address));
                let v6 = METADATA_V6.iter().map(|&address| IpAddr::from(address));
                let remote = v4.chain(v6).map(Prefix::host).collect();
                vec![protecting(name, Selector { remote, ..Selector::default() })]
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns",
            Self::Metadata => "metadata",
        })
    }
}

/// A protecting rule, in both directions.
pub(crate) fn protecting(name: String, selector: Selector) -> Rule {
    let selector = Selector { direction: Direction::Both, ..selector };
    Rule { name, selector, action: Action::Protect }
}

/// Flows to exempt, as a user writes them: `dns`, `metadata`, or
/// `remote=PREFIX,remote-port=PORT,local=…,local-port=…,proto=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protect(Vec<Rule>);

impl Protect {
    /// The rules that exempt them.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

const KEYS: [&str; 5] = ["remote", "remote-port", "local", "local-port", "proto"];

impl FromStr for Protect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, endpoint)) = ENDPOINTS.iter().find(|(name, _)| *name == text) {
            return Ok(Self(endpoint.rules()));
        }
        let mut selector = Selector::default();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!(
                    "`{part}` is neither `dns` nor `metadata` nor of the form KEY=VALUE; keys are {}",
                    KEYS.join(", ")
                ));
            };
            let at = |error: crate::experiment::UnitError| format!("{key}: {error}");
            match key {
                "remote" => selector.remote.push(value.parse().map_err(at)?),
                "remote-port" => selector.remote_ports.push(value.parse().map_err(at)?),
                "local" => selector.local.push(value.parse().map_err(at)?),
                "local-port" => selector.local_ports.push(value.parse().map_err(at)?),
                "proto" => selector.protocol = Some(value.parse().map_err(at)?),
                _ => {
                    let hint = nearest(key, KEYS)
                        .map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
                    return Err(format!(
                        "there is no key `{key}`{hint}; keys are {}",
                        KEYS.join(", ")
                    ));
                }
            }
        }
        Ok(Self(vec![protecting(format!("protect {text}"), selector)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::units::Protocol;

    #[test]
    fn protects_what_is_named() {
        let protect: Protect = "remote=10.0.0.0/8,remote-port=22,proto=tcp".parse().unwrap();
        let [rule] = protect.rules() else { panic!("{protect:?}") };
        assert_eq!(rule.action, Action::Protect);
        assert_eq!(rule.selector.remote, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(rule.selector.protocol, Some(Protocol::TCP));
        let metadata: Protect = "metadata".parse().unwrap();
        assert_eq!(metadata.rules()[0].selector.remote.len(), 6);
        let dns: Protect = "dns".parse().unwrap();
        assert_eq!((dns.rules().len(), dns.rules()[1].selector.local.len()), (2, 4));
    }

    #[test]
    fn says_what_is_wrong() {
        let refused = |text: &str| text.parse::<Protect>().unwrap_err();
        assert!(refused("10.0.0.1").contains("KEY=VALUE"));
        assert!(refused("remot=10.0.0.1").contains("did you mean `remote`"));
        assert!(refused("remote-port=x").starts_with("remote-port:"));
    }
}
