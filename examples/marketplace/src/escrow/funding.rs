//! The buyer pays: the money is held first, then all wallets must confirm the address.

use super::{
    Escrow, Event, Key, Outcome, State, idempotency,
    idempotency::Begin,
    ledger::{self, Account, Kind},
    load, setup,
};
use crate::{
    defect::Defect,
    error::{Error, Result},
    market::Market,
    wallet::Role,
};

/// Funds escrow `id`.
pub async fn fund(market: &Market, id: i64, key: Key) -> Result<Escrow> {
    let _held = market.locks.hold(id).await;
    let begin_key = key.clone();
    let (begin, escrow) = market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            escrow.only(Role::Buyer, &begin_key.actor)?;
            let begin = begin_key.begin(tx, Some(id))?;
            if begin == Begin::New {
                escrow.apply(tx, Event::BeginFunding, &begin_key.actor)?;
                let accounts = (&Account::User(&escrow.buyer_id), &Account::Escrow(id));
                ledger::transfer(tx, Kind::Hold, accounts, escrow.amount, Some(id), true)?;
            }
            Ok((begin, escrow))
        })
        .await?;
    if begin == Begin::Done {
        return Ok(escrow);
    }

    match confirm(market, &escrow).await {
        Ok(()) => {
            market
                .store
                .write(move |tx| {
                    let mut escrow = load(tx, id)?;
                    escrow.apply(tx, Event::Commit(Outcome::Release), &key.actor)?;
                    key.finish(tx)?;
                    Ok(escrow)
                })
                .await
        }
        Err(error) => undo(market, id, error).await,
    }
}

/// Rolls the transient state of escrow `id` back; its lock must be held.
pub(super) async fn undo(market: &Market, id: i64, error: Error) -> Result<Escrow> {
    if market.defects.has(Defect::NoRollback) {
        return Err(error);
    }
    let undone = market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            let from = escrow.state;
            if from == State::Funding {
                let accounts = (&Account::Escrow(id), &Account::User(&escrow.buyer_id));
                ledger::transfer(tx, Kind::Unhold, accounts, escrow.amount, Some(id), true)?;
            } else {
                tx.execute(
                    "UPDATE escrows SET outcome = NULL, tx_hash = NULL, signed_tx = NULL WHERE id = ?1",
                    [id],
                )?;
            }
            escrow.apply(tx, Event::RollBack, "rollback")?;
            idempotency::settle(tx, id, false)?;
            Ok((from, load(tx, id)?))
        })
        .await;
    match undone {
        Ok((from, escrow)) => {
            tracing::error!(escrow = id, %from, to = %escrow.state, %error, "rolled back");
            market.metrics.rollbacks.with_label_values(&[from.name()]).inc();
            if market.defects.has(Defect::FalseSuccess) {
                return Ok(escrow);
            }
        }
        // The reconciler finds the escrow and tries again.
        Err(failed) => tracing::error!(escrow = id, %error, %failed, "could not roll back yet"),
    }
    Err(error)
}

/// Every managed wallet must be complete and have the escrow's address.
async fn confirm(market: &Market, escrow: &Escrow) -> Result<()> {
    let _conn = if market.defects.has(Defect::HoldConnectionDuringRpc) {
        Some(market.store.hold().await?)
    } else {
        None
    };
    let attempt = setup::attempt(market, escrow.id).await?;
    let checks = Role::ALL.map(|role| async move {
        if !escrow.is_managed(role) {
            return Ok(());
        }
        let file = escrow.wallet_file(attempt, role);
        let mut wallet = market.wallets.of(role).session(&file, false).await?;
        let state = wallet.multisig_state().await?;
        if !setup::is_two_of_three(&state) {
            return Err(Error::Disagreement { what: "whether the set-up is complete" });
        }
        let address = wallet.address().await?;
        if escrow.address.as_deref() != Some(address.as_str())
            && !market.defects.has(Defect::AcceptConflict)
        {
            return Err(Error::Disagreement { what: "the address of the shared wallet" });
        }
        Ok(())
    });
    futures_util::future::try_join_all(checks).await?;
    Ok(())
}
