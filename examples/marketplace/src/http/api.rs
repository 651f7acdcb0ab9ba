//! The handlers: who asks for what, and nothing more.

use std::{future::Future, sync::Arc, time::Instant};

use axum::{
    extract::{FromRequestParts, Path, Query, State},
    http::{HeaderMap, request::Parts},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, body::Json, reply::Reply};
use crate::{
    defect::Defect,
    error::{Error, Result},
    escrow::{
        self, Decision, Escrow, Key, NewEscrow, Outcome, Progress, Submission,
        check::{Report, check},
        ledger::Kind,
    },
    market::Market,
    users::{self, Listing, NewListing, NewUser, User},
    wallet::slowest_of,
};

/// Who is acting, as the authenticating proxy in front of this service says.
pub(super) struct Actor(String);

impl FromRequestParts<App> for Actor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        let user = parts.headers.get("x-user").and_then(|value| value.to_str().ok());
        user.filter(|user| !user.is_empty())
            .map(|user| Self(user.to_owned()))
            .ok_or(Error::Anonymous)
    }
}

/// Runs work that must not stop half-way because its client went away.
async fn run<T, F, Fut>(app: &App, work: F) -> Result<Reply<T>>
where
    T: Send + 'static,
    F: FnOnce(Arc<Market>) -> Fut,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    let work = tokio::spawn(slowest_of(work(Arc::clone(&app.market))));
    let (result, slowest) = work.await.map_err(|_| Error::Broken { what: "a task" })?;
    let tell = slowest > app.market.slow && !app.market.defects.has(Defect::NoSlowNotice);
    Ok(Reply { slow: tell.then_some(slowest), ..Reply::ok(result?) })
}

fn key(headers: &HeaderMap, actor: &str, request: String) -> Result<Key> {
    let key = headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default());
    if key.is_some_and(|key| key.is_empty() || key.len() > 200) {
        let problem = "must have 1 to 200 printable characters";
        return Err(Error::Invalid { field: "Idempotency-Key", problem });
    }
    Ok(Key { actor: actor.to_owned(), key: key.map(str::to_owned), request })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Amount {
    amount: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verdict {
    outcome: Outcome,
}

#[derive(Deserialize)]
pub(super) struct Filter {
    state: Option<escrow::State>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Patience {
    stuck_after_ms: Option<i64>,
}

pub(super) async fn create_user(
    State(app): State<App>,
    Json(new): Json<NewUser>,
) -> Result<Reply<User>> {
    let work = move |tx: &rusqlite::Transaction<'_>| {
        users::insert(tx, &new)?;
        users::load(tx, &new.id)
    };
    app.market.store.write(work).await.map(Reply::created)
}

pub(super) async fn list_users(State(app): State<App>) -> Result<Reply<Vec<User>>> {
    app.market.store.read(users::list).await.map(Reply::ok)
}

pub(super) async fn show_user(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Reply<Value>> {
    let (online, ago) = app.market.presence.of(&id, Instant::now());
    let user = app.market.store.read(move |conn| users::load(conn, &id)).await?;
    let presence = json!({
        "status": if online { "online" } else { "offline" },
        "last_seen_ms": ago.map(|ago| ago.as_millis() as u64),
    });
    let mut value = json!(user);
    if let Value::Object(fields) = &mut value {
        fields.insert("presence".to_owned(), presence);
    }
    Ok(Reply::ok(value))
}

pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Reply<Value>> {
    let user = id.clone();
    app.market.store.read(move |conn| users::load(conn, &user).map(drop)).await?;
    app.market.heartbeat(&id).await?;
    Ok(Reply::ok(json!({"id": id, "presence": {"status": "online"}})))
}

async fn money(
    app: App,
    headers: HeaderMap,
    id: String,
    kind: Kind,
    amount: i64,
) -> Result<Reply<User>> {
    let key = key(&headers, &id, format!("{kind:?} {amount}"))?;
    run(&app, |market| async move { users::move_money(&market, id, kind, amount, key).await }).await
}

pub(super) async fn deposit(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(Amount { amount }): Json<Amount>,
) -> Result<Reply<User>> {
    money(app, headers, id, Kind::Deposit, amount).await
}

pub(super) async fn withdraw(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(Amount { amount }): Json<Amount>,
) -> Result<Reply<User>> {
    money(app, headers, id, Kind::Withdraw, amount).await
}

pub(super) async fn create_listing(
    State(app): State<App>,
    Actor(actor): Actor,
    Json(new): Json<NewListing>,
) -> Result<Reply<Listing>> {
    let work = move |tx: &rusqlite::Transaction<'_>| users::insert_listing(tx, &actor, &new);
    app.market.store.write(work).await.map(Reply::created)
}

pub(super) async fn list_listings(State(app): State<App>) -> Result<Reply<Vec<Listing>>> {
    app.market.store.read(users::listings).await.map(Reply::ok)
}

pub(super) async fn create_escrow(
    State(app): State<App>,
    Actor(actor): Actor,
    Json(new): Json<NewEscrow>,
) -> Result<Reply<Escrow>> {
    escrow::create(&app.market, actor, new).await.map(Reply::created)
}

pub(super) async fn list_escrows(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Reply<Vec<Escrow>>> {
    let limit = filter.limit.unwrap_or(100).min(1000);
    app.market.store.read(move |conn| escrow::list(conn, filter.state, limit)).await.map(Reply::ok)
}

pub(super) async fn show_escrow(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Reply<Escrow>> {
    app.market.store.read(move |conn| escrow::load(conn, id)).await.map(Reply::ok)
}

pub(super) async fn show_history(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Reply<Vec<escrow::History>>> {
    let work = move |conn: &rusqlite::Connection| {
        escrow::load(conn, id)?;
        escrow::history(conn, id)
    };
    app.market.store.read(work).await.map(Reply::ok)
}

pub(super) async fn show_multisig(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Reply<Progress>> {
    escrow::progress(&app.market, id).await.map(Reply::ok)
}

/// With [`Defect::FalseSuccess`] a set-up that a wallet failed is answered as if it had worked.
async fn or_pretend(market: &Market, id: i64, result: Result<Progress>) -> Result<Progress> {
    match result {
        Err(Error::Wallet(_)) if market.defects.has(Defect::FalseSuccess) => {
            escrow::progress(market, id).await
        }
        other => other,
    }
}

pub(super) async fn advance_multisig(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Reply<Progress>> {
    let work = |market: Arc<Market>| async move {
        let result = escrow::advance(&market, id).await;
        or_pretend(&market, id, result).await
    };
    run(&app, work).await
}

pub(super) async fn run_multisig(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Reply<Progress>> {
    let work = |market: Arc<Market>| async move {
        let result = escrow::complete(&market, id).await;
        or_pretend(&market, id, result).await
    };
    run(&app, work).await
}

pub(super) async fn submit_info(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
    Json(sent): Json<Submission>,
) -> Result<Reply<Progress>> {
    run(&app, |market| async move { escrow::submit(&market, id, actor, sent).await }).await
}

pub(super) async fn fund(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
    headers: HeaderMap,
) -> Result<Reply<Escrow>> {
    let key = key(&headers, &actor, format!("fund {id}"))?;
    run(&app, |market| async move { escrow::fund(&market, id, key).await }).await
}

pub(super) async fn ship(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
) -> Result<Reply<Escrow>> {
    run(&app, |market| async move { escrow::ship(&market, id, actor).await }).await
}

pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
) -> Result<Reply<Escrow>> {
    run(&app, |market| async move { escrow::cancel(&market, id, actor).await }).await
}

pub(super) async fn dispute(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
    Json(Reason { reason }): Json<Reason>,
) -> Result<Reply<Escrow>> {
    run(&app, |market| async move { escrow::dispute(&market, id, actor, reason).await }).await
}

pub(super) async fn release(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
    headers: HeaderMap,
) -> Result<Reply<Escrow>> {
    let key = key(&headers, &actor, format!("release {id}"))?;
    let work = |market: Arc<Market>| async move {
        escrow::settle(&market, id, Decision::Release, key).await
    };
    run(&app, work).await
}

pub(super) async fn resolve(
    State(app): State<App>,
    Path(id): Path<i64>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Json(Verdict { outcome }): Json<Verdict>,
) -> Result<Reply<Escrow>> {
    let key = key(&headers, &actor, format!("resolve {id} {}", outcome.name()))?;
    let decision = Decision::Resolve(outcome);
    run(&app, |market| async move { escrow::settle(&market, id, decision, key).await }).await
}

pub(super) async fn invariants(
    State(app): State<App>,
    Query(patience): Query<Patience>,
) -> Result<Reply<Report>> {
    let ms = patience.stuck_after_ms.unwrap_or(30_000);
    app.market.store.read(move |conn| check(conn, ms)).await.map(Reply::ok)
}
