//! A simulator of monero-wallet-rpc.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use marketplace::{
    defect::Defects,
    logging, serve,
    sim::{Files, Sim, forward, router},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// A simulator of monero-wallet-rpc: JSON-RPC 2.0 at POST /json_rpc.
#[derive(Debug, Parser)]
#[command(name = "wallet-sim", version)]
struct Args {
    /// Address to listen on; may be given several times. `[::]` serves IPv4 too.
    #[arg(
        long,
        env = "WALLET_SIM_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:18083"
    )]
    listen: Vec<SocketAddr>,
    /// Folder for the wallets.
    #[arg(long, env = "WALLET_SIM_DATA", default_value = "wallets")]
    data: PathBuf,
    /// Keys depend on this and on the wallet's name only; random if not given.
    #[arg(long, env = "WALLET_SIM_SEED")]
    seed: Option<u64>,
    /// What every wallet starts with, in piconero.
    #[arg(long, default_value_t = 1_000_000_000_000_000)]
    balance: u64,
    /// Be the front of the monero-wallet-rpc at this URL, and no wallet; for --control.
    #[arg(long, value_name = "URL", conflicts_with_all = ["seed", "balance"])]
    forward: Option<String>,
    /// Also take POST /sim, which makes it misbehave: {"lie": "address", "delay_ms": 0}.
    #[arg(long)]
    control: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logging::start(None, Defects::NONE, None).context("cannot start logging")?;
    let router = answers(&args)?;

    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(256));
    let (mut accepting, mut addresses) = (JoinSet::new(), Vec::new());
    for address in &args.listen {
        let listener =
            serve::listen(*address).with_context(|| format!("cannot listen on {address}"))?;
        addresses.extend(listener.local_addr().map(|address| address.to_string()));
        let grace = Duration::from_secs(2);
        let slots = Arc::clone(&slots);
        accepting.spawn(serve::accept(listener, router.clone(), slots, stopped.clone(), grace));
    }
    tracing::info!(addresses = addresses.join(","), pid = std::process::id(), "listening");
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result.context("cannot wait for signals")?,
    }
    let _ = stop.send(true);
    while accepting.join_next().await.is_some() {}
    Ok(())
}

fn answers(args: &Args) -> anyhow::Result<axum::Router> {
    if let Some(url) = &args.forward {
        return forward(url, args.control).context("cannot make the HTTP client");
    }
    let files = Files::new(args.data.clone())
        .with_context(|| format!("cannot use the folder {}", args.data.display()))?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    tracing::info!(seed, "simulating");
    Ok(router(Sim::new(files, seed, args.balance), args.control))
}
