//! What can go wrong with a wallet call.

use std::time::Duration;

use super::Role;

/// Error codes of monero-wallet-rpc (`wallet_rpc_server_error_codes.h`).
pub mod rpc_code {
    #![expect(missing_docs, reason = "the names are those of monero-wallet-rpc")]
    pub const UNKNOWN_ERROR: i64 = -1;
    pub const WRONG_ADDRESS: i64 = -2;
    pub const NOT_OPEN: i64 = -13;
    pub const NOT_ENOUGH_MONEY: i64 = -17;
    pub const ZERO_DESTINATION: i64 = -20;
    pub const WALLET_ALREADY_EXISTS: i64 = -21;
    pub const BAD_HEX: i64 = -26;
    pub const ALREADY_MULTISIG: i64 = -28;
    pub const NOT_MULTISIG: i64 = -31;
    pub const THRESHOLD_NOT_REACHED: i64 = -33;
    pub const BAD_MULTISIG_TX_DATA: i64 = -34;
    pub const MULTISIG_SIGNATURE: i64 = -35;
    pub const MULTISIG_SUBMISSION: i64 = -36;
}

/// A wallet call that failed.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// No connection.
    #[error("cannot reach the {role}'s wallet: {source}")]
    Unreachable {
        /// Whose wallet.
        role: Role,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer in time; the wallet may have done its work.
    #[error("the {role}'s wallet did not answer {method} within {after:?}")]
    Timeout {
        /// Whose wallet.
        role: Role,
        /// The call.
        method: &'static str,
        /// The time-out.
        after: Duration,
    },
    /// It failed too often lately.
    #[error("the {role}'s wallet failed too often; it is tried again in {retry_in:?}")]
    CircuitOpen {
        /// Whose wallet.
        role: Role,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The answer is not one of monero-wallet-rpc.
    #[error("the {role}'s wallet answered {method} with something unusable ({what})")]
    Malformed {
        /// Whose wallet.
        role: Role,
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The wallet refused.
    #[error("the {role}'s wallet refused {method}: {message} ({code})")]
    Refused {
        /// Whose wallet.
        role: Role,
        /// The call.
        method: &'static str,
        /// The error code.
        code: i64,
        /// The wallet's own words.
        message: String,
    },
    /// Other requests are using it.
    #[error("the {role}'s wallet is busy with other escrows")]
    Busy {
        /// Whose wallet.
        role: Role,
    },
}

impl WalletError {
    /// Whose wallet.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Unreachable { role, .. }
            | Self::Timeout { role, .. }
            | Self::CircuitOpen { role, .. }
            | Self::Malformed { role, .. }
            | Self::Refused { role, .. }
            | Self::Busy { role } => *role,
        }
    }

    /// A short, stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "wallet_unreachable",
            Self::Timeout { .. } => "wallet_timeout",
            Self::CircuitOpen { .. } => "wallet_circuit_open",
            Self::Malformed { .. } => "wallet_malformed",
            Self::Refused { .. } => "wallet_refused",
            Self::Busy { .. } => "wallet_busy",
        }
    }

    /// The HTTP status a request that hits it is answered with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unreachable { .. } | Self::CircuitOpen { .. } | Self::Busy { .. } => 503,
            Self::Timeout { .. } => 504,
            Self::Malformed { .. } | Self::Refused { .. } => 502,
        }
    }

    /// What the user is told: what happened, without addresses and inner errors.
    #[must_use]
    pub fn user_text(&self) -> String {
        let role = self.role();
        match self {
            Self::Unreachable { .. } => format!("the {role}'s wallet service is unreachable"),
            Self::Timeout { after, .. } => {
                format!("slow network: the {role}'s wallet service did not answer within {after:?}")
            }
            Self::CircuitOpen { .. } => {
                format!("the {role}'s wallet service is unreachable (it has failed repeatedly)")
            }
            Self::Malformed { .. } => {
                format!("the {role}'s wallet service gave an answer that makes no sense")
            }
            Self::Refused { message, .. } => {
                format!("the {role}'s wallet service refused: {message}")
            }
            Self::Busy { .. } => format!("the {role}'s wallet service is busy"),
        }
    }

    /// Whether the wallet may have done what it was asked although no answer came.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Malformed { .. })
    }

    /// Whether the wallet answered, whatever it said.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Malformed { .. })
    }
}
