//! Services that something else supervises.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::variables::Variables;

/// Where the Docker engine listens unless told otherwise. Podman's service speaks the same.
pub(super) const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// A service that something else supervises. Names may hold `${name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervised {
    /// A container of an engine that speaks the Docker API over a unix socket.
    Container {
        /// Its name or id.
        name: String,
        /// The engine's socket.
        socket: PathBuf,
    },
}

impl Supervised {
    /// The same with every `${name}` replaced.
    #[must_use]
    pub fn filled(&self, variables: &Variables) -> Self {
        match self {
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
            Self::Container { name, .. } => write!(f, "the container {name}"),
        }
    }
}
