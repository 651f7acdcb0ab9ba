//! Is it alive, what does it depend on, and how is each of those.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::App;
use crate::{
    defect::Defect,
    market::Market,
    store::DiskState,
    wallet::{BreakerState, Role},
};

/// Since when the service runs.
#[derive(Debug)]
pub struct HealthState {
    started: Instant,
}

impl Default for HealthState {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

/// Asks one wallet service for its version again and again, so that its failure is noticed without
/// a user. Never returns.
pub async fn watch_wallet(market: &Market, role: Role, every: Duration) {
    let wallet = market.wallets.of(role);
    loop {
        // A service does one thing at a time, and a call that is running shows whether it works.
        if !wallet.is_busy() {
            // The client raises the alert, as for any other call.
            let _ = tokio::time::timeout(Duration::from_secs(30), wallet.rpc.ping()).await;
        }
        tokio::time::sleep(every).await;
    }
}

/// Live, and what each dependency is like: 200 as long as the database can be read.
pub(super) async fn healthz(State(app): State<App>) -> Response {
    let (report, serving, _) = report(&app).await;
    let status = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

/// Ready for everything: 503 while anything is degraded.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let (report, _, ready) = report(&app).await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

/// Everything that is counted.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let market = &app.market;
    for wallet in market.wallets.iter() {
        let state = match wallet.rpc.breaker_state() {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        market.metrics.breaker.with_label_values(&[wallet.role.name()]).set(state);
    }
    let online = market.presence.count(Instant::now()).0;
    market.metrics.users_online.set(i64::try_from(online).unwrap_or(i64::MAX));
    let counts = market.store.read(|conn| {
        let mut query =
            conn.prepare_cached("SELECT state, count(*) FROM escrows GROUP BY state")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<Vec<(String, i64)>, _>>()?)
    });
    // Metrics must be readable also when the pool is exhausted: then the counts stay as they were.
    if let Ok(Ok(counts)) = tokio::time::timeout(Duration::from_millis(500), counts).await {
        market.metrics.escrows.reset();
        for (state, count) in counts {
            market.metrics.escrows.with_label_values(&[state.as_str()]).set(count);
        }
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], market.metrics.render()).into_response()
}

async fn report(app: &App) -> (Value, bool, bool) {
    let market = &app.market;
    let mut checks = Map::new();
    let mut degraded = Vec::new();

    let start = Instant::now();
    let read = market.store.read(|conn| Ok(conn.query_row("SELECT 1", [], |_| Ok(()))?));
    let read = tokio::time::timeout(Duration::from_secs(2), read).await;
    let serving = matches!(read, Ok(Ok(())));
    let problem = match read {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer within 2 s".to_owned()),
    };
    let ms = start.elapsed().as_millis() as u64;
    checks.insert("db".into(), json!({"ok": serving, "ms": ms, "problem": problem}));
    if !serving {
        degraded.push("database".to_owned());
    }

    let disk = market.store.disk.state();
    let hidden = market.defects.has(Defect::NoDiskAlert);
    let writable = disk == DiskState::ReadWrite || hidden;
    let state = if hidden { &DiskState::ReadWrite } else { &disk };
    checks.insert(
        "disk".into(),
        json!({"ok": writable, "free_bytes": market.store.disk.free(), "state": state}),
    );
    if !writable {
        degraded.push("read_only".to_owned());
    }
    for wallet in market.wallets.iter() {
        let breaker = wallet.rpc.breaker_state();
        let ok = wallet.rpc.answers() && breaker == BreakerState::Closed;
        let name = format!("wallet_{}", wallet.role);
        if !ok {
            degraded.push(name.clone());
        }
        checks.insert(name, json!({"ok": ok, "breaker": breaker}));
    }
    let ready = degraded.is_empty();
    let status = match (serving, ready) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "down",
    };
    let report = json!({
        "status": status, "degraded": degraded, "checks": checks,
        "pid": std::process::id(), "uptime_ms": app.health.started.elapsed().as_millis() as u64,
    });
    (report, serving, ready)
}
