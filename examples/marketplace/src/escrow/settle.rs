//! Pays an escrow out, exactly once.
//!
//! The decision is written down first (a transient state), then two wallets sign and one submits,
//! then ledger and state change together. The hash of the transaction is stored before it is
//! submitted: after a crash or a lost answer the very same transaction is submitted again, which
//! can only be paid once, however late the first one arrives.

use super::{
    Escrow, Event, Key, Outcome, State, funding, idempotency,
    idempotency::Begin,
    ledger::{self, Account, Kind},
    load, setup,
};
use crate::{
    defect::Defect,
    error::{Error, Result},
    market::{Market, Settlement},
    users,
    wallet::Role,
};

/// Who decided where the money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The buyer has the goods.
    Release,
    /// The arbiter decided a dispute.
    Resolve(Outcome),
}

impl Decision {
    fn outcome(self) -> Outcome {
        match self {
            Self::Release => Outcome::Release,
            Self::Resolve(outcome) => outcome,
        }
    }

    fn event(self) -> Event {
        match self {
            Self::Release => Event::BeginRelease,
            Self::Resolve(_) => Event::BeginResolution,
        }
    }

    fn by(self) -> Role {
        match self {
            Self::Release => Role::Buyer,
            Self::Resolve(_) => Role::Arbiter,
        }
    }
}

/// Carries `decision` out.
pub async fn settle(market: &Market, id: i64, decision: Decision, key: Key) -> Result<Escrow> {
    let careless = market.defects.has(Defect::DoubleRelease);
    let held = if careless { None } else { Some(market.locks.hold(id).await) };
    let begin_key = key.clone();
    let started = market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            escrow.only(decision.by(), &begin_key.actor)?;
            let begin = begin_key.begin(tx, Some(id))?;
            if begin == Begin::New && careless {
                let before = escrow.state;
                escrow.apply(tx, decision.event(), &begin_key.actor)?;
                tx.execute("UPDATE escrows SET state = ?1 WHERE id = ?2", (before.name(), id))?;
            } else if begin == Begin::New {
                escrow.apply(tx, decision.event(), &begin_key.actor)?;
                let outcome = decision.outcome();
                tx.execute("UPDATE escrows SET outcome = ?1 WHERE id = ?2", (outcome.name(), id))?;
                escrow.outcome = Some(outcome);
            }
            Ok((begin, escrow))
        })
        .await;
    let (begin, escrow) = match started {
        Ok(started) => started,
        Err(error) => {
            if market.defects.has(Defect::SettleDeadlock) && matches!(error, Error::State { .. }) {
                std::mem::forget(held);
            }
            return Err(error);
        }
    };
    if begin == Begin::Done {
        return Ok(escrow);
    }
    match pay(market, &escrow, decision.outcome()).await {
        Ok(()) => commit(market, id, decision.outcome(), key.actor).await,
        Err(error @ Error::InDoubt) => {
            tracing::error!(escrow = id, %error, "settlement in doubt; the wallet will be asked");
            Err(error)
        }
        Err(error) if careless => Err(error),
        Err(error) => funding::undo(market, id, error).await,
    }
}

/// Books the payout and ends the escrow, in one transaction; its lock must be held.
pub(super) async fn commit(
    market: &Market,
    id: i64,
    outcome: Outcome,
    actor: String,
) -> Result<Escrow> {
    let defects = market.defects;
    let escrow = market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            let careless = defects.has(Defect::DoubleRelease);
            if careless {
                let disputed = matches!(escrow.state, State::Disputed | State::ResolvedRefund)
                    || escrow.state == State::ResolvedRelease;
                escrow.state = if disputed { State::Resolving } else { State::Releasing };
                let (state, outcome) = (escrow.state.name(), outcome.name());
                let sql = "UPDATE escrows SET state = ?1, outcome = ?2 WHERE id = ?3";
                tx.execute(sql, (state, outcome, id))?;
            }
            let disputed = escrow.state == State::Resolving;
            escrow.apply(tx, Event::Commit(outcome), &actor)?;
            let (kind, to) = match outcome {
                Outcome::Release => (Kind::Release, &escrow.vendor_id),
                Outcome::Refund => (Kind::Refund, &escrow.buyer_id),
            };
            let accounts = (&Account::Escrow(id), &Account::User(to));
            if !(disputed && defects.has(Defect::SettleWithoutPayout)) {
                ledger::transfer(tx, kind, accounts, escrow.amount, Some(id), !careless)?;
            }
            if escrow.state != State::Released {
                tx.execute(
                    "UPDATE disputes SET resolved_by = ?1, outcome = ?2, resolved_at = ?3
                     WHERE escrow_id = ?4",
                    (&actor, outcome.name(), crate::now_ms(), id),
                )?;
            }
            idempotency::settle(tx, id, true)?;
            load(tx, id)
        })
        .await?;
    market.metrics.settlements.with_label_values(&[outcome.name()]).inc();
    Ok(escrow)
}

/// The two participants whose wallets sign, the submitting one last.
pub(super) fn signers(escrow: &Escrow, outcome: Outcome) -> (Role, Role) {
    let wanted = match (escrow.state, outcome) {
        (State::Resolving | State::Disputed, Outcome::Release) => [Role::Arbiter, Role::Vendor],
        (_, Outcome::Release) => [Role::Buyer, Role::Vendor],
        (_, Outcome::Refund) => [Role::Arbiter, Role::Buyer],
    };
    // At most one participant keeps their wallet themself, so two are left.
    let mut managed = wanted.into_iter().chain(Role::ALL).filter(|role| escrow.is_managed(*role));
    let first = managed.next().unwrap_or(wanted[0]);
    (first, managed.find(|role| *role != first).unwrap_or(wanted[1]))
}

async fn pay(market: &Market, escrow: &Escrow, outcome: Outcome) -> Result<()> {
    if market.settlement == Settlement::Ledger {
        return Ok(());
    }
    let _conn = if market.defects.has(Defect::HoldConnectionDuringRpc) {
        Some(market.store.hold().await?)
    } else {
        None
    };
    let to = match outcome {
        Outcome::Release => Role::Vendor,
        Outcome::Refund => Role::Buyer,
    };
    let to = payout_address(market, escrow.user(to), to).await?;
    let attempt = setup::attempt(market, escrow.id).await?;
    let (first, second) = signers(escrow, outcome);
    let export = async |role: Role| {
        let file = escrow.wallet_file(attempt, role);
        market.wallets.of(role).session(&file, false).await?.export().await
    };
    let import = async |role: Role, info: String| {
        let file = escrow.wallet_file(attempt, role);
        market.wallets.of(role).session(&file, false).await?.import(&info).await
    };
    let (info_first, info_second) =
        futures_util::future::try_join(export(first), export(second)).await?;
    futures_util::future::try_join(import(first, info_second), import(second, info_first)).await?;

    let file = escrow.wallet_file(attempt, first);
    let unsigned = {
        let mut wallet = market.wallets.of(first).session(&file, false).await?;
        wallet.transfer(&to, escrow.amount).await?
    };
    let file = escrow.wallet_file(attempt, second);
    let mut wallet = market.wallets.of(second).session(&file, false).await?;
    let (signed, hash) = wallet.sign(&unsigned).await?;
    let (id, kept) = (escrow.id, (hash.clone(), signed.clone()));
    let note = move |tx: &rusqlite::Transaction<'_>| {
        let sql = "UPDATE escrows SET tx_hash = ?1, signed_tx = ?2 WHERE id = ?3";
        tx.execute(sql, (&kept.0, &kept.1, id))?;
        Ok(())
    };
    market.store.write(note).await?;
    match wallet.submit(&signed).await {
        Ok(sent) if sent == hash => Ok(()),
        Err(error) if !error.is_in_doubt() => Err(error.into()),
        _ => Err(Error::InDoubt),
    }
}

/// Where a user is paid: their own address, or a wallet that the marketplace keeps for them.
async fn payout_address(market: &Market, user: &str, role: Role) -> Result<String> {
    let id = user.to_owned();
    let known = market.store.read(move |conn| users::payout_address(conn, &id)).await?;
    if let Some(address) = known {
        return Ok(address);
    }
    let mut wallet = market.wallets.of(role).session(&format!("payout-{user}"), true).await?;
    let address = wallet.address().await?;
    drop(wallet);
    let (id, stored) = (user.to_owned(), address.clone());
    market.store.write(move |tx| users::set_payout_address(tx, &id, &stored)).await?;
    Ok(address)
}
