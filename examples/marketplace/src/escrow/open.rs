//! The steps of an escrow that need no wallet.

use rusqlite::OptionalExtension as _;
use serde::Deserialize;

use super::{Escrow, Event, load};
use crate::{
    error::{Error, Result},
    market::Market,
    users,
    wallet::Role,
};

/// A request for a new escrow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEscrow {
    /// What is bought.
    pub listing_id: String,
    /// Who decides disputes; the first arbiter if not given.
    pub arbiter_id: Option<String>,
    /// The participant, if any, who keeps their wallet themself.
    #[serde(default)]
    pub self_custody: Vec<Role>,
}

/// Opens an escrow for `buyer`.
pub async fn create(market: &Market, buyer: String, new: NewEscrow) -> Result<Escrow> {
    if new.self_custody.len() > 1 {
        let problem = "may name one participant: two signatures must come from managed wallets";
        return Err(Error::Invalid { field: "self_custody", problem });
    }
    market
        .store
        .write(move |tx| {
            users::require(tx, &buyer, Role::Buyer)?;
            let listing = tx
                .query_row(
                    "SELECT vendor_id, price FROM listings WHERE id = ?1",
                    [&new.listing_id],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
                )
                .optional()?;
            let missing = |what, id: &str| Error::NotFound { what, id: id.to_owned() };
            let (vendor, price) = listing.ok_or_else(|| missing("listing", &new.listing_id))?;
            let arbiter = match new.arbiter_id {
                Some(id) => id,
                None => users::any_arbiter(tx)?.ok_or_else(|| missing("arbiter", "at all"))?,
            };
            users::require(tx, &arbiter, Role::Arbiter)?;
            let custody: Vec<_> = new.self_custody.iter().map(|role| role.name()).collect();
            let now = crate::now_ms();
            tx.execute(
                "INSERT INTO escrows(listing_id, buyer_id, vendor_id, arbiter_id, amount, state,
                 self_custody, created_at, updated_at)
                 VALUES(?1, ?2, ?3, ?4, ?5, 'created', ?6, ?7, ?7)",
                (&new.listing_id, &buyer, &vendor, &arbiter, price, custody.join(","), now),
            )?;
            load(tx, tx.last_insert_rowid())
        })
        .await
}

/// The vendor has sent the goods.
pub async fn ship(market: &Market, id: i64, actor: String) -> Result<Escrow> {
    step(market, id, Event::Ship, actor, |escrow, actor| escrow.only(Role::Vendor, actor)).await
}

/// A participant calls it off before any money moved.
pub async fn cancel(market: &Market, id: i64, actor: String) -> Result<Escrow> {
    let _held = market.locks.hold(id).await;
    step(market, id, Event::Cancel, actor, participant).await
}

async fn step(
    market: &Market,
    id: i64,
    event: Event,
    actor: String,
    allowed: fn(&Escrow, &str) -> Result<()>,
) -> Result<Escrow> {
    market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            allowed(&escrow, &actor)?;
            escrow.apply(tx, event, &actor)?;
            Ok(escrow)
        })
        .await
}

/// A participant asks the arbiter to decide.
pub async fn dispute(market: &Market, id: i64, actor: String, reason: String) -> Result<Escrow> {
    if reason.trim().is_empty() || reason.len() > 2000 {
        let problem = "must have 1 to 2000 characters";
        return Err(Error::Invalid { field: "reason", problem });
    }
    market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            participant(&escrow, &actor)?;
            escrow.apply(tx, Event::Dispute, &actor)?;
            tx.execute(
                "INSERT INTO disputes(escrow_id, opened_by, reason, opened_at)
                 VALUES(?1, ?2, ?3, ?4)",
                (id, &actor, &reason, crate::now_ms()),
            )?;
            Ok(escrow)
        })
        .await
}

fn participant(escrow: &Escrow, user: &str) -> Result<()> {
    escrow.role_of(user).map(drop).ok_or(Error::Forbidden { who: "participants" })
}
