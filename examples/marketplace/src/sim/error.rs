//! Refusals, with the codes and words of the real wallet.

use std::io;

use crate::wallet::rpc_code as code;

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// As in `wallet_rpc_server_error_codes.h`.
    pub code: i64,
    /// For people.
    pub message: String,
}

impl RpcError {
    /// An error.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(code::UNKNOWN_ERROR, message)
    }

    pub(super) fn not_open() -> Self {
        Self::new(code::NOT_OPEN, "No wallet file")
    }

    pub(super) fn method_not_found() -> Self {
        Self::new(-32601, "Method not found")
    }

    pub(super) fn not_multisig() -> Self {
        Self::new(code::NOT_MULTISIG, "This wallet is not multisig")
    }

    pub(super) fn not_finalized() -> Self {
        Self::new(code::NOT_MULTISIG, "This wallet is multisig, but not yet finalized")
    }

    pub(super) fn already_multisig() -> Self {
        Self::new(code::ALREADY_MULTISIG, "This wallet is already multisig")
    }

    pub(super) fn bad_hex() -> Self {
        Self::new(code::BAD_HEX, "Failed to parse hex.")
    }

    pub(super) fn bad_tx_data() -> Self {
        Self::new(code::BAD_MULTISIG_TX_DATA, "Failed to parse multisig tx data.")
    }
}

impl From<io::Error> for RpcError {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "a wallet file cannot be read or written");
        Self::unknown(format!("file I/O error: {error}"))
    }
}
