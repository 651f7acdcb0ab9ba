//! The service: what its parts share.

use std::time::{Duration, Instant};

use crate::{
    defect::{Defect, Defects},
    error::Result,
    escrow::{
        Locks, State,
        ledger::{self, Account, Kind},
        list,
    },
    metrics::Metrics,
    presence::Presence,
    store::Store,
    wallet::Wallets,
};

/// How escrows are paid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Settlement {
    /// Two wallets sign and submit a transaction, then the ledger is changed.
    Wallet,
    /// Only the ledger is changed: for wallets without money of their own.
    Ledger,
}

/// The marketplace.
#[derive(Debug)]
pub struct Market {
    /// The data.
    pub store: Store,
    /// The participants' wallets.
    pub wallets: Wallets,
    /// Who drives which escrow.
    pub locks: Locks,
    /// Who is online.
    pub presence: Presence,
    /// What is counted.
    pub metrics: Metrics,
    /// How escrows are paid out.
    pub settlement: Settlement,
    /// A wallet call that takes longer is told to the user.
    pub slow: Duration,
    /// What is wrong with this service on purpose.
    pub defects: Defects,
}

impl Market {
    /// Notes that `user` is alive.
    pub async fn heartbeat(&self, user: &str) -> Result<()> {
        let came_back = self.presence.heard(user, Instant::now());
        if came_back {
            tracing::info!(user, "user is online again");
            if self.defects.has(Defect::DivergeAfterHeal) {
                self.give_back_held_money(user.to_owned()).await?;
            }
        }
        Ok(())
    }

    /// Only ever called by [`Defect::DivergeAfterHeal`].
    async fn give_back_held_money(&self, user: String) -> Result<()> {
        let work = move |tx: &rusqlite::Transaction<'_>| {
            let mut held = list(tx, Some(State::Funded), 100)?;
            held.extend(list(tx, Some(State::Shipped), 100)?);
            for escrow in held {
                if escrow.buyer_id == user {
                    let accounts = (&Account::Escrow(escrow.id), &Account::User(&user));
                    let amount = escrow.amount;
                    ledger::transfer(tx, Kind::Unhold, accounts, amount, Some(escrow.id), true)?;
                }
            }
            Ok(())
        };
        self.store.write(work).await
    }
}
