//! Services that something else supervises.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::variables::Variables;

/// Where the Docker engine listens unless told otherwise. Podman's service speaks the same.
pub(super) const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What the names of units end with.
const ENDINGS: [&str; 11] = [
    "service",
    "socket",
    "timer",
    "scope",
    "slice",
    "target",
    "path",
    "mount",
    "automount",
    "swap",
    "device",
];

/// A service that something else supervises. Names may hold `${name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervised {
    /// A unit of this host's systemd.
    Unit {
        /// Its name; one without an ending is a service.
        name: String,
    },
    /// A container of an engine that speaks the Docker API over a unix socket.
    Container {
        /// Its name or id.
        name: String,
        /// The engine's socket.
        socket: PathBuf,
    },
}

impl Supervised {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Unit { name } | Self::Container { name, .. } => name,
        }
    }

    /// The same with every `${name}` replaced.
    #[must_use]
    pub fn filled(&self, variables: &Variables) -> Self {
        match self {
            Self::Unit { name } => Self::Unit { name: with_ending(variables.fill_text(name)) },
            Self::Container { name, socket } => Self::Container {
                name: variables.fill_text(name),
                socket: variables.fill_text(&socket.to_string_lossy()).into(),
            },
        }
    }
}

impl fmt::Display for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit { name } => write!(f, "the unit {name}"),
            Self::Container { name, .. } => write!(f, "the container {name}"),
        }
    }
}

/// A unit's name as systemctl understands it: without an ending it is a service.
fn with_ending(name: String) -> String {
    let ended = name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending));
    if ended { name } else { name + ".service" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_without_an_ending_is_a_service() {
        for (given, meant) in [
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("backup.timer", "backup.timer"),
            ("getty@tty1", "getty@tty1.service"),
            ("com.example.shop", "com.example.shop.service"),
        ] {
            assert_eq!(with_ending(given.into()), meant);
        }
    }
}
