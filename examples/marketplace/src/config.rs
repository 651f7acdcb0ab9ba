//! How the server is told what to do: flags, each with an environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    defect::{Defect, Defects, UnknownDefect},
    http::Limits,
    market::Settlement,
    store::PoolConfig,
    wallet::{Role, RpcConfig},
};

/// The server's settings.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on; may be given several times. `[::]` serves IPv4 too.
    #[arg(long, env = "MARKETPLACE_LISTEN", value_delimiter = ',', default_value = "[::]:8080")]
    pub listen: Vec<SocketAddr>,
    /// Folder for the database.
    #[arg(long, env = "MARKETPLACE_DATA", default_value = "marketplace-data")]
    pub data: PathBuf,
    /// Also write the log to this file.
    #[arg(long, env = "MARKETPLACE_LOG_FILE")]
    pub log_file: Option<PathBuf>,
    /// The buyers' monero-wallet-rpc.
    #[arg(long, env = "MARKETPLACE_WALLET_BUYER", default_value = "http://127.0.0.1:18083")]
    pub wallet_buyer: String,
    /// The vendors' monero-wallet-rpc.
    #[arg(long, env = "MARKETPLACE_WALLET_VENDOR", default_value = "http://127.0.0.1:18084")]
    pub wallet_vendor: String,
    /// The arbiters' monero-wallet-rpc.
    #[arg(long, env = "MARKETPLACE_WALLET_ARBITER", default_value = "http://127.0.0.1:18085")]
    pub wallet_arbiter: String,
    /// Whether payouts go through the wallets, or only through the ledger.
    #[arg(long, env = "MARKETPLACE_SETTLEMENT", value_enum, default_value = "wallet")]
    pub settlement: Settlement,
    /// Create users and listings to try the service with.
    #[arg(long, env = "MARKETPLACE_SEED_DEMO")]
    pub seed_demo: bool,
    /// What each demo buyer starts with, in piconero.
    #[arg(long, default_value_t = 100_000_000_000_000)]
    pub demo_money: i64,
    /// Database connections.
    #[arg(long, env = "MARKETPLACE_POOL_SIZE", default_value_t = 5)]
    pub pool_size: usize,
    /// Requests that may wait for a database connection.
    #[arg(long, default_value_t = 256)]
    pub pool_queue: usize,
    /// How long one may wait.
    #[arg(long, default_value_t = 5000)]
    pub pool_timeout_ms: u64,
    /// Largest request body, in bytes.
    #[arg(long, env = "MARKETPLACE_MAX_BODY", default_value_t = 64 << 10)]
    pub max_body: usize,
    /// Longest time for an answer.
    #[arg(long, env = "MARKETPLACE_REQUEST_TIMEOUT_MS", default_value_t = 30_000)]
    pub request_timeout_ms: u64,
    /// Requests worked on at once; more are answered with 503.
    #[arg(long, default_value_t = 256)]
    pub max_in_flight: usize,
    /// Connections held at once; more wait in the listen queue.
    #[arg(long, default_value_t = 1024)]
    pub max_connections: usize,
    /// Time-out of a connection to a wallet.
    #[arg(long, default_value_t = 2500)]
    pub rpc_connect_timeout_ms: u64,
    /// Time-out of one wallet call.
    #[arg(long, env = "MARKETPLACE_RPC_TIMEOUT_MS", default_value_t = 4000)]
    pub rpc_timeout_ms: u64,
    /// How often a wallet call is tried.
    #[arg(long, default_value_t = 3)]
    pub rpc_attempts: u32,
    /// Failed wallet calls in a row that open the circuit breaker.
    #[arg(long, default_value_t = 3)]
    pub breaker_failures: u32,
    /// How long it stays open.
    #[arg(long, default_value_t = 2000)]
    pub breaker_open_ms: u64,
    /// How often each wallet service is asked whether it is there.
    #[arg(long, default_value_t = 1000)]
    pub wallet_check_ms: u64,
    /// A wallet call that takes longer makes a "slow network" notice.
    #[arg(long, default_value_t = 400)]
    pub slow_ms: u64,
    /// A user is online for this long after being heard of.
    #[arg(long, env = "MARKETPLACE_PRESENCE_MS", default_value_t = 3000)]
    pub presence_ms: u64,
    /// Become read-only when less than this is free, in bytes.
    #[arg(long, default_value_t = 1 << 20)]
    pub disk_reserve: u64,
    /// How often the disk is looked at.
    #[arg(long, default_value_t = 250)]
    pub disk_check_ms: u64,
    /// How often unfinished work is looked for.
    #[arg(long, default_value_t = 1000)]
    pub reconcile_ms: u64,
    /// How long a shut-down waits for requests.
    #[arg(long, default_value_t = 10_000)]
    pub grace_ms: u64,
    /// Be wrong in this way (see `marketplace defects`); may be given several times.
    #[arg(long = "defect", env = "MARKETPLACE_DEFECTS", value_delimiter = ',')]
    #[arg(value_name = "NAME", value_parser = parse_defect)]
    pub defects: Vec<Option<Defect>>,
}

impl ServeArgs {
    /// What is wrong on purpose.
    #[must_use]
    pub fn defects(&self) -> Defects {
        self.defects.iter().copied().flatten().collect()
    }

    /// The pool's part.
    #[must_use]
    pub fn pool(&self) -> PoolConfig {
        let timeout = Duration::from_millis(self.pool_timeout_ms);
        PoolConfig { size: self.pool_size, queue: self.pool_queue, timeout }
    }

    /// The requests' part.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let deadline = Duration::from_millis(self.request_timeout_ms);
        Limits { body: self.max_body, deadline, in_flight: self.max_in_flight }
    }

    /// The wallet clients' part.
    #[must_use]
    pub fn rpc(&self) -> RpcConfig {
        RpcConfig {
            connect_timeout: Duration::from_millis(self.rpc_connect_timeout_ms),
            timeout: Duration::from_millis(self.rpc_timeout_ms),
            attempts: self.rpc_attempts,
            breaker_failures: self.breaker_failures,
            breaker_open: Duration::from_millis(self.breaker_open_ms),
        }
    }

    /// The wallet service of a participant.
    #[must_use]
    pub fn wallet_url(&self, role: Role) -> &str {
        match role {
            Role::Buyer => &self.wallet_buyer,
            Role::Vendor => &self.wallet_vendor,
            Role::Arbiter => &self.wallet_arbiter,
        }
    }
}

/// A defect; an empty name, which an empty environment variable gives, is none.
fn parse_defect(name: &str) -> Result<Option<Defect>, UnknownDefect> {
    if name.is_empty() { Ok(None) } else { name.parse().map(Some) }
}
