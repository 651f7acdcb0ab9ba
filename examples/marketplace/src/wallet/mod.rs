//! The participants' wallets, reached by monero-wallet-rpc's JSON-RPC.

mod breaker;
mod error;
mod rpc;
mod session;
mod slow;

pub use breaker::{Breaker, BreakerState};
pub use error::{WalletError, rpc_code};
pub use rpc::{Rpc, RpcConfig};
pub use session::{MultisigState, Session, Step, Wallet, Wallets};
pub use slow::{observe, slowest_of};

use std::fmt;

/// A participant of an escrow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Pays.
    Buyer,
    /// Sells.
    Vendor,
    /// Decides disputes.
    Arbiter,
}

impl Role {
    /// All participants.
    pub const ALL: [Self; 3] = [Self::Buyer, Self::Vendor, Self::Arbiter];

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Vendor => "vendor",
            Self::Arbiter => "arbiter",
        }
    }

    /// Reads what was stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
