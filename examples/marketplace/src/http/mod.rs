//! The HTTP interface.

mod api;
mod body;
mod guard;
mod health;
mod reply;

pub use guard::Limits;
pub use health::{HealthState, watch_wallet};

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};
use tokio::sync::Semaphore;

use crate::{error::Error, market::Market};

/// What every handler can reach.
#[derive(Debug, Clone)]
pub struct App {
    /// The service.
    pub market: Arc<Market>,
    /// What requests may cost.
    pub limits: Limits,
    /// What the background checks know.
    pub health: Arc<HealthState>,
    slots: Arc<Semaphore>,
}

/// All routes.
pub fn router(market: Arc<Market>, limits: Limits, health: Arc<HealthState>) -> Router {
    let app = App { market, limits, health, slots: Arc::new(Semaphore::new(limits.in_flight)) };
    let guarded = Router::new()
        .route("/api/users", get(api::list_users).post(api::create_user))
        .route("/api/users/{id}", get(api::show_user))
        .route("/api/users/{id}/heartbeat", post(api::heartbeat))
        .route("/api/users/{id}/deposit", post(api::deposit))
        .route("/api/users/{id}/withdraw", post(api::withdraw))
        .route("/api/listings", get(api::list_listings).post(api::create_listing))
        .route("/api/escrows", get(api::list_escrows).post(api::create_escrow))
        .route("/api/escrows/{id}", get(api::show_escrow))
        .route("/api/escrows/{id}/history", get(api::show_history))
        .route("/api/escrows/{id}/multisig", get(api::show_multisig))
        .route("/api/escrows/{id}/multisig/advance", post(api::advance_multisig))
        .route("/api/escrows/{id}/multisig/run", post(api::run_multisig))
        .route("/api/escrows/{id}/multisig/info", post(api::submit_info))
        .route("/api/escrows/{id}/fund", post(api::fund))
        .route("/api/escrows/{id}/ship", post(api::ship))
        .route("/api/escrows/{id}/release", post(api::release))
        .route("/api/escrows/{id}/cancel", post(api::cancel))
        .route("/api/escrows/{id}/dispute", post(api::dispute))
        .route("/api/escrows/{id}/resolve", post(api::resolve))
        .route("/api/invariants", get(api::invariants))
        .fallback(async || Error::NoRoute)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard));
    // Not guarded: these must answer when the service is overloaded.
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(guarded)
        .with_state(app)
}
