//! A simulator of monero-wallet-rpc 0.18, as far as an escrow needs it.
//!
//! Methods, fields, error codes and texts are those of the real one, as observed; key-exchange
//! messages have the real layout and real signatures. What is simulated is the secret sharing
//! behind them (keys are derived by hashing) and the chain: a finished multisig wallet simply holds
//! an amount. One wallet is open at a time, files survive a restart, and with a seed everything is
//! reproducible.
//!
//! With [`forward()`] the answers are those of a real wallet, and only the lies are made here.

mod control;
mod error;
mod exchange;
mod files;
mod forward;
mod methods;
mod money;
mod server;
mod wallet;

pub use control::{Control, Lie};
pub use error::RpcError;
pub use files::Files;
pub use forward::forward;
pub use methods::Sim;
pub use server::router;
