//! A small Monero escrow marketplace, and a simulator of the wallets it uses.
//!
//! It is the system under test of the experiments in this repository: a service as one would run
//! it, with switchable defects (see [`defect`]) that show that the experiments notice.
//!
//! [`http`] is the interface, [`escrow`] the state machine, its money and its recovery,
//! [`multisig`] the key exchange, [`wallet`] the client of monero-wallet-rpc, [`store`] the database
//! and the disk below it, and [`sim`] the wallet simulator.

pub mod client;
pub mod config;
pub mod defect;
pub mod error;
pub mod escrow;
pub mod http;
pub mod logging;
pub mod market;
pub mod metrics;
pub mod multisig;
pub mod presence;
pub mod serve;
pub mod sim;
pub mod store;
pub mod users;
pub mod wallet;

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Ends the process as a panic in a service built with `panic = "abort"` does. Only defects call it.
pub(crate) fn crash(why: &str) -> ! {
    use std::io::Write as _;
    tracing::error!(why, "panicked");
    let _ = writeln!(std::io::stderr(), "thread 'main' panicked: {why}");
    std::process::abort()
}
