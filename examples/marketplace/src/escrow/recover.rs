//! Finishes or undoes what a killed process, a lost answer or a full disk left half-way.

use std::time::Duration;

use super::{Escrow, State, funding, idempotency, load, settle};
use crate::{
    defect::Defect,
    error::{Error, Result},
    market::Market,
    wallet::{Role, WalletError},
};

/// Looks for orphans again and again. Never returns.
pub async fn reconcile(market: &Market, every: Duration) {
    if let Err(error) = market.store.write(idempotency::expire).await {
        tracing::error!(%error, "cannot remove old idempotency keys");
    }
    loop {
        recover(market).await;
        tokio::time::sleep(every).await;
    }
}

/// Deals with every escrow that is in a transient state although nobody works on it.
pub async fn recover(market: &Market) {
    if market.defects.has(Defect::NoRecovery) || market.defects.has(Defect::NoRollback) {
        return;
    }
    let transient = market.store.read(|conn| {
        let mut query = conn.prepare_cached(
            "SELECT id FROM escrows WHERE state IN('funding', 'releasing', 'resolving')",
        )?;
        let ids = query.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<std::result::Result<Vec<i64>, _>>()?)
    });
    let ids = match transient.await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::error!(%error, "cannot look for unfinished work");
            return;
        }
    };
    for id in ids {
        if let Some(_held) = market.locks.try_hold(id)
            && let Err(error) = one(market, id).await
        {
            tracing::error!(escrow = id, %error, "unfinished work could not be finished; the next look tries again");
        }
    }
}

async fn one(market: &Market, id: i64) -> Result<()> {
    let escrow = market.store.read(move |conn| load(conn, id)).await?;
    if !escrow.state.is_transient() {
        return Ok(());
    }
    let sent = match (escrow.state, escrow.outcome) {
        (State::Releasing | State::Resolving, Some(outcome)) => {
            let by = settle::signers(&escrow, outcome).1;
            send_again(market, &escrow, by).await?.then_some(outcome)
        }
        _ => None,
    };
    tracing::warn!(escrow = id, state = %escrow.state, sent = sent.is_some(), "recovering");
    if let Some(outcome) = sent {
        return settle::commit(market, id, outcome, "recovery".into()).await.map(drop);
    }
    let unfinished = Error::Broken { what: "the process that worked on it" };
    match funding::undo(market, id, unfinished).await {
        Ok(_) | Err(Error::Broken { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Submits the escrow's transaction again, if there is one; says whether it is sent now.
async fn send_again(market: &Market, escrow: &Escrow, by: Role) -> Result<bool> {
    let id = escrow.id;
    let kept = market.store.read(move |conn| {
        let sql = "SELECT tx_hash, signed_tx FROM escrows WHERE id = ?1";
        Ok(conn.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?)))?)
    });
    let (Some(hash), Some(signed)): (Option<String>, Option<String>) = kept.await? else {
        return Ok(false);
    };
    let attempt = super::setup::attempt(market, id).await?;
    let file = escrow.wallet_file(attempt, by);
    let mut wallet = market.wallets.of(by).session(&file, false).await?;
    if wallet.has_sent(&hash).await? {
        return Ok(true);
    }
    match wallet.submit(&signed).await {
        Ok(sent) => Ok(sent == hash),
        // Refused for good, unless the first one arrived just now.
        Err(WalletError::Refused { .. }) => Ok(wallet.has_sent(&hash).await?),
        Err(error) => Err(error.into()),
    }
}
