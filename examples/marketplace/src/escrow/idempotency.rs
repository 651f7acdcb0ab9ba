//! Idempotency keys: a request that moves money and is sent twice is done once.

use rusqlite::{OptionalExtension as _, Transaction};

use crate::error::{Error, Result};

/// What makes two requests the same one.
#[derive(Debug, Clone)]
pub struct Key {
    /// Who asks.
    pub actor: String,
    /// The `Idempotency-Key` header, if there is one.
    pub key: Option<String>,
    /// Method, path and body in short.
    pub request: String,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Do it.
    New,
    /// It was done; show the result.
    Done,
}

impl Key {
    /// Reserves the key in the transaction that starts the work.
    pub(crate) fn begin(&self, tx: &Transaction<'_>, escrow: Option<i64>) -> Result<Begin> {
        let Some(key) = &self.key else { return Ok(Begin::New) };
        let found: Option<(String, bool)> = tx
            .prepare_cached("SELECT request, done FROM idempotency WHERE actor = ?1 AND key = ?2")?
            .query_row((&self.actor, key), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((request, _)) if request != self.request => Err(Error::KeyReused),
            Some((_, true)) => Ok(Begin::Done),
            Some((_, false)) => Err(Error::KeyBusy),
            None => {
                tx.prepare_cached(
                    "INSERT INTO idempotency(actor, key, request, escrow_id, created_at)
                     VALUES(?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((
                    &self.actor,
                    key,
                    &self.request,
                    escrow,
                    crate::now_ms(),
                ))?;
                Ok(Begin::New)
            }
        }
    }

    /// Marks the work as done, in the transaction that does it.
    pub(crate) fn finish(&self, tx: &Transaction<'_>) -> Result<()> {
        if let Some(key) = &self.key {
            tx.execute(
                "UPDATE idempotency SET done = 1 WHERE actor = ?1 AND key = ?2",
                (&self.actor, key),
            )?;
        }
        Ok(())
    }
}

/// Settles the keys of an escrow's unfinished work: kept if it was done, else free again.
pub(super) fn settle(tx: &Transaction<'_>, escrow: i64, done: bool) -> Result<()> {
    let sql = if done {
        "UPDATE idempotency SET done = 1 WHERE escrow_id = ?1 AND done = 0"
    } else {
        "DELETE FROM idempotency WHERE escrow_id = ?1 AND done = 0"
    };
    tx.execute(sql, [escrow])?;
    Ok(())
}

/// Forgets keys of finished work that are older than a day.
pub(super) fn expire(tx: &Transaction<'_>) -> Result<()> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let before = crate::now_ms() - DAY_MS;
    tx.execute("DELETE FROM idempotency WHERE done = 1 AND created_at < ?1", [before])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::memory;

    fn key(request: &str) -> Key {
        Key { actor: "a".into(), key: Some("k".into()), request: request.into() }
    }

    #[test]
    fn a_key_is_new_then_busy_then_done() {
        let mut conn = memory();
        let tx = conn.transaction().unwrap();
        assert_eq!(key("r").begin(&tx, Some(1)).unwrap(), Begin::New);
        assert!(matches!(key("r").begin(&tx, Some(1)), Err(Error::KeyBusy)));
        settle(&tx, 1, false).unwrap();
        assert_eq!(key("r").begin(&tx, Some(1)).unwrap(), Begin::New);
        key("r").finish(&tx).unwrap();
        assert_eq!(key("r").begin(&tx, Some(1)).unwrap(), Begin::Done);
        assert!(matches!(key("other").begin(&tx, Some(1)), Err(Error::KeyReused)));
    }
}
