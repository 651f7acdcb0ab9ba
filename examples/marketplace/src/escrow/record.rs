//! An escrow as it is stored.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};
use serde::Serialize;

use super::{Event, Outcome, State};
use crate::{
    error::{Error, Result},
    wallet::Role,
};

/// An escrow.
#[derive(Debug, Clone, Serialize)]
pub struct Escrow {
    /// Its number.
    pub id: i64,
    /// What is bought.
    pub listing_id: String,
    /// Who pays.
    pub buyer_id: String,
    /// Who sells.
    pub vendor_id: String,
    /// Who decides disputes.
    pub arbiter_id: String,
    /// The price, in piconero.
    pub amount: i64,
    /// Where it is.
    pub state: State,
    /// Where its money goes or went, once decided.
    pub outcome: Option<Outcome>,
    /// The address of the multisig wallet, once there is one.
    pub address: Option<String>,
    /// The transaction that pays it out.
    pub tx_hash: Option<String>,
    /// The participants whose wallet is not managed by the marketplace.
    pub self_custody: Vec<Role>,
    /// In ms since 1970.
    pub created_at: i64,
    /// In ms since 1970.
    pub updated_at: i64,
}

/// One change of state.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// In ms since 1970.
    pub at: i64,
    /// Before.
    pub from: String,
    /// After.
    pub to: String,
    /// Who did it.
    pub actor: String,
}

const COLUMNS: &str = "id, listing_id, buyer_id, vendor_id, arbiter_id, amount, state, outcome, \
                       address, tx_hash, self_custody, created_at, updated_at";

impl Escrow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let bad = |at| {
            rusqlite::Error::InvalidColumnType(at, "state".into(), rusqlite::types::Type::Text)
        };
        let state: String = row.get(6)?;
        let outcome: Option<String> = row.get(7)?;
        let self_custody: String = row.get(10)?;
        Ok(Self {
            id: row.get(0)?,
            listing_id: row.get(1)?,
            buyer_id: row.get(2)?,
            vendor_id: row.get(3)?,
            arbiter_id: row.get(4)?,
            amount: row.get(5)?,
            state: State::from_name(&state).ok_or_else(|| bad(6))?,
            outcome: outcome.as_deref().and_then(Outcome::from_name),
            address: row.get(8)?,
            tx_hash: row.get(9)?,
            self_custody: self_custody.split(',').filter_map(Role::from_name).collect(),
            created_at: row.get(11)?,
            updated_at: row.get(12)?,
        })
    }

    /// The user who has `role` in it.
    #[must_use]
    pub fn user(&self, role: Role) -> &str {
        match role {
            Role::Buyer => &self.buyer_id,
            Role::Vendor => &self.vendor_id,
            Role::Arbiter => &self.arbiter_id,
        }
    }

    /// The role that `user` has in it.
    #[must_use]
    pub fn role_of(&self, user: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.user(*role) == user)
    }

    /// Refuses anybody but `role`.
    pub fn only(&self, role: Role, user: &str) -> Result<()> {
        if self.user(role) == user { Ok(()) } else { Err(Error::Forbidden { who: role.name() }) }
    }

    /// Whether the marketplace drives the wallet of `role`.
    #[must_use]
    pub fn is_managed(&self, role: Role) -> bool {
        !self.self_custody.contains(&role)
    }

    /// The file of a participant's multisig wallet. Unique also across data folders.
    #[must_use]
    pub fn wallet_file(&self, attempt: u32, role: Role) -> String {
        format!("escrow-{}-{:x}-{attempt}-{role}", self.id, self.created_at)
    }

    /// Moves the escrow on, in the database and in `self`. Fails if somebody else was faster.
    pub fn apply(&mut self, tx: &Transaction<'_>, event: Event, actor: &str) -> Result<()> {
        let refused = Error::State { id: self.id, state: self.state, action: event.action() };
        let Some(next) = self.state.after(event) else { return Err(refused) };
        let changed = tx
            .prepare_cached(
                "UPDATE escrows SET state = ?1, updated_at = ?2 WHERE id = ?3 AND state = ?4",
            )?
            .execute((next.name(), crate::now_ms(), self.id, self.state.name()))?;
        if changed != 1 {
            return Err(refused);
        }
        self.note(tx, next, actor)?;
        self.state = next;
        Ok(())
    }

    /// Adds a line to the escrow's history.
    pub(super) fn note(&self, tx: &Transaction<'_>, next: State, actor: &str) -> Result<()> {
        tx.prepare_cached(
            "INSERT INTO escrow_events(escrow_id, at, from_state, to_state, actor)
             VALUES(?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((self.id, crate::now_ms(), self.state.name(), next.name(), actor))?;
        tracing::info!(escrow = self.id, from = %self.state, to = %next, actor, "escrow moved");
        Ok(())
    }
}

impl Event {
    /// What the user wanted, for the message that refuses it.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::StartMultisig | Self::MultisigReady => "be set up",
            Self::BeginFunding => "be funded",
            Self::Ship => "be shipped",
            Self::BeginRelease => "be released",
            Self::Dispute => "be disputed",
            Self::BeginResolution => "be resolved",
            Self::Commit(_) => "be finished",
            Self::RollBack => "be rolled back",
            Self::Cancel => "be cancelled",
        }
    }
}

/// Escrow `id`.
pub fn load(conn: &Connection, id: i64) -> Result<Escrow> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM escrows WHERE id = ?1"))?
        .query_row([id], Escrow::from_row)
        .optional()?
        .ok_or_else(|| Error::NotFound { what: "escrow", id: id.to_string() })
}

/// The newest escrows, all or those in one state.
pub fn list(conn: &Connection, state: Option<State>, limit: u32) -> Result<Vec<Escrow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM escrows WHERE ?1 IS NULL OR state = ?1 ORDER BY id DESC LIMIT ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((state.map(State::name), limit), Escrow::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Everything that happened to escrow `id`.
pub fn history(conn: &Connection, id: i64) -> Result<Vec<History>> {
    let mut query = conn.prepare_cached(
        "SELECT at, from_state, to_state, actor FROM escrow_events WHERE escrow_id = ?1 ORDER BY id",
    )?;
    let rows = query.query_map([id], |row| {
        Ok(History { at: row.get(0)?, from: row.get(1)?, to: row.get(2)?, actor: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
