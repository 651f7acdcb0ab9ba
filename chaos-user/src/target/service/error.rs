//! Why a service could not be looked at, or did not do what was asked.

use crate::exit::Exit;

/// Why a service could not be looked at, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its supervisor is not there.
    #[error("cannot reach {whom}: {why}; is it running on this host?")]
    Unreachable {
        /// The supervisor, and where it was looked for.
        whom: String,
        /// Why not.
        why: String,
    },
    /// Its supervisor does not know it.
    #[error("there is no {what} `{name}` on this host")]
    Unknown {
        /// What it was taken for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Its supervisor refused.
    #[error("{whom} refused to {what} `{name}`: {why}")]
    Refused {
        /// The supervisor.
        whom: &'static str,
        /// What was asked.
        what: &'static str,
        /// Of whom.
        name: String,
        /// What it said.
        why: String,
    },
    /// Its supervisor said something that is not understood.
    #[error("{whom} gave an answer that is not understood: {why}")]
    Answer {
        /// The supervisor.
        whom: &'static str,
        /// What about it.
        why: String,
    },
    /// What it writes cannot be followed.
    #[error("cannot follow the log of the container `{name}`: {why}")]
    Log {
        /// Whose.
        name: String,
        /// Why not.
        why: String,
    },
    /// Its supervisor does not answer.
    #[error("{whom} has not answered within {seconds} s")]
    Silent {
        /// The supervisor.
        whom: &'static str,
        /// How long it had.
        seconds: u64,
    },
}

impl ServiceError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::Usage,
            Self::Unreachable { .. } => Exit::HostUnable,
            Self::Refused { .. } | Self::Answer { .. } | Self::Log { .. } | Self::Silent { .. } => {
                Exit::ToolFailed
            }
        }
    }
}
