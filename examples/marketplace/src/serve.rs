//! Running the service: listeners, connections, background work, shut-down.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    config::ServeArgs,
    escrow,
    http::{self, HealthState},
    market::Market,
    metrics::Metrics,
    presence::Presence,
    store::{self, OpenError},
    users,
    wallet::{Role, Rpc, Wallets},
};

/// Time for a client to send the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address.
    #[error("cannot listen on {address}: {source}; choose another one with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A wallet client.
    #[error("cannot make the wallet client: {0}")]
    Wallet(#[from] reqwest::Error),
    /// The metrics.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A signal handler.
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
    /// The demo data.
    #[error("cannot create the demo data: {0}")]
    Seed(crate::error::Error),
    /// The last write.
    #[error("cannot save the database: {0}")]
    Save(rusqlite::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn serve(args: &ServeArgs, metrics: Metrics) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let defects = args.defects();
    if !defects.is_empty() {
        let names: Vec<_> = defects.iter().map(crate::defect::Defect::name).collect();
        tracing::warn!(?names, "this service is wrong on purpose");
    }
    let (store, lock) = store::open(&args.data, args.pool(), args.disk_reserve, defects, &metrics)?;
    if args.seed_demo {
        let money = args.demo_money;
        let seed = store.write(move |tx| users::seed_demo(tx, money)).await;
        seed.map_err(ServeError::Seed)?;
    }
    let client = |role| Rpc::new(role, args.wallet_url(role), args.rpc(), defects, metrics.clone());
    let market = Arc::new(Market {
        store,
        wallets: Wallets::new(client)?,
        locks: escrow::Locks::default(),
        presence: Presence::new(Duration::from_millis(args.presence_ms), defects),
        metrics,
        settlement: args.settlement,
        slow: Duration::from_millis(args.slow_ms),
        defects,
    });
    let health = Arc::new(HealthState::default());
    let mut background = background(args, &market);
    let router = http::router(market, args.limits(), health);

    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(args.max_connections));
    let mut accepting = JoinSet::new();
    let mut addresses = Vec::new();
    for address in &args.listen {
        let listener =
            listen(*address).map_err(|source| ServeError::Listen { address: *address, source })?;
        addresses.extend(listener.local_addr());
        let grace = Duration::from_millis(args.grace_ms);
        let slots = Arc::clone(&slots);
        accepting.spawn(accept(listener, router.clone(), slots, stopped.clone(), grace));
    }
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    tracing::info!(addresses = addresses.join(","), pid = std::process::id(), "listening");

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
    }
    let _ = stop.send(true);
    while accepting.join_next().await.is_some() {}
    background.shutdown().await;
    store::save(&args.data, defects).map_err(ServeError::Save)?;
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

fn background(args: &ServeArgs, market: &Arc<Market>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let every = Duration::from_millis(args.disk_check_ms);
    tasks.spawn(store::disk::watch(market.store.clone(), every));
    let every = Duration::from_millis(args.reconcile_ms);
    let shared = Arc::clone(market);
    tasks.spawn(async move { escrow::reconcile(&shared, every).await });
    let every = Duration::from_millis(args.wallet_check_ms);
    for role in Role::ALL {
        let market = Arc::clone(market);
        tasks.spawn(async move { http::watch_wallet(&market, role, every).await });
    }
    tasks
}

/// A listening socket; an IPv6 wildcard also takes IPv4.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Serves connections until told to stop, then waits for the requests that are left.
pub async fn accept(
    listener: TcpListener,
    router: Router,
    slots: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
    grace: Duration,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly a lack of descriptors; those that are open will be given back.
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running when the time for a shut-down was over");
    }
}
