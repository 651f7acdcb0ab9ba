//! The tables, and how a database of an older version is brought up to date.

use rusqlite::{Connection, TransactionBehavior};

/// Each step takes the database from version `index` to `index + 1`.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE users(
        id TEXT PRIMARY KEY, role TEXT NOT NULL CHECK(role IN('buyer','vendor','arbiter')),
        name TEXT NOT NULL, payout_address TEXT, created_at INTEGER NOT NULL) STRICT;
    CREATE TABLE listings(
        id TEXT PRIMARY KEY, vendor_id TEXT NOT NULL REFERENCES users(id), title TEXT NOT NULL,
        price INTEGER NOT NULL CHECK(price > 0), created_at INTEGER NOT NULL) STRICT;
    CREATE TABLE escrows(
        id INTEGER PRIMARY KEY AUTOINCREMENT, listing_id TEXT NOT NULL REFERENCES listings(id),
        buyer_id TEXT NOT NULL REFERENCES users(id), vendor_id TEXT NOT NULL REFERENCES users(id),
        arbiter_id TEXT NOT NULL REFERENCES users(id), amount INTEGER NOT NULL CHECK(amount > 0),
        state TEXT NOT NULL, outcome TEXT, address TEXT, tx_hash TEXT,
        self_custody TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL) STRICT;
    CREATE INDEX escrows_state ON escrows(state);
    CREATE TABLE escrow_events(
        id INTEGER PRIMARY KEY AUTOINCREMENT, escrow_id INTEGER NOT NULL REFERENCES escrows(id),
        at INTEGER NOT NULL, from_state TEXT NOT NULL, to_state TEXT NOT NULL,
        actor TEXT NOT NULL) STRICT;
    CREATE INDEX escrow_events_escrow ON escrow_events(escrow_id);
    CREATE TABLE disputes(
        escrow_id INTEGER PRIMARY KEY REFERENCES escrows(id), opened_by TEXT NOT NULL,
        reason TEXT NOT NULL, opened_at INTEGER NOT NULL, resolved_by TEXT, outcome TEXT,
        resolved_at INTEGER) STRICT;",
    "CREATE TABLE accounts(id TEXT PRIMARY KEY, balance INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE TABLE transfers(
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
        escrow_id INTEGER REFERENCES escrows(id), created_at INTEGER NOT NULL) STRICT;
    CREATE INDEX transfers_escrow ON transfers(escrow_id);
    CREATE TABLE entries(
        transfer_id INTEGER NOT NULL REFERENCES transfers(id),
        account TEXT NOT NULL REFERENCES accounts(id),
        amount INTEGER NOT NULL CHECK(amount <> 0)) STRICT;
    CREATE INDEX entries_transfer ON entries(transfer_id);
    CREATE INDEX entries_account ON entries(account);
    CREATE TABLE idempotency(
        actor TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0, escrow_id INTEGER, created_at INTEGER NOT NULL,
        PRIMARY KEY(actor, key)) STRICT;",
    "CREATE TABLE sessions(
        escrow_id INTEGER NOT NULL REFERENCES escrows(id), attempt INTEGER NOT NULL,
        round INTEGER NOT NULL, status TEXT NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY(escrow_id, attempt)) STRICT;
    CREATE TABLE messages(
        escrow_id INTEGER NOT NULL REFERENCES escrows(id), attempt INTEGER NOT NULL,
        round INTEGER NOT NULL, participant TEXT NOT NULL, info TEXT NOT NULL, signer TEXT,
        at INTEGER NOT NULL, PRIMARY KEY(escrow_id, attempt, round, participant)) STRICT;
    CREATE INDEX messages_info ON messages(info);
    CREATE INDEX messages_signer ON messages(signer);
    CREATE TABLE disk_check(id INTEGER PRIMARY KEY CHECK(id = 1), at INTEGER NOT NULL) STRICT;",
    "ALTER TABLE escrows ADD COLUMN signed_tx TEXT;",
];

/// Brings the database up to the newest version. Each step is one transaction.
pub(super) fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: usize = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let Some(step) = MIGRATIONS.get(version) else { return Ok(()) };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version + 1)?;
        tx.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        migrate(&mut conn).unwrap();
        let version: usize = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, MIGRATIONS.len());
    }
}
