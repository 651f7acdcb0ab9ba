//! Everything that is kept: SQLite in WAL mode, behind a bounded pool of connections.

pub(crate) mod disk;
mod open;
mod pool;
mod schema;

pub use disk::{Disk, DiskState};
pub use open::{OpenError, open, save};
pub use pool::{Pool, PoolConfig, Pooled};

use std::{path::PathBuf, sync::Arc};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::{
    defect::{Defect, Defects},
    error::{Error, Result},
};

/// The database and the state of the disk below it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Arc<Pool>,
    /// Whether the disk takes writes.
    pub disk: Arc<Disk>,
    defects: Defects,
    path: PathBuf,
}

impl Store {
    /// Runs `work` on a connection of its own. It sees one consistent snapshot.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let mut conn = self.pool.acquire().await?;
        blocking(move || {
            let tx = conn.get()?.transaction()?;
            work(&tx)
        })
        .await
    }

    /// Runs `work` in a write transaction: all of it is done, or nothing.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.disk.check()?;
        let mut conn = self.pool.acquire().await?;
        let _second = if self.defects.has(Defect::PoolDeadlock) {
            Some(self.pool.acquire().await?)
        } else {
            None
        };
        let result = blocking(move || {
            let tx = conn.get()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            conn.give_back();
            Ok(value)
        })
        .await;
        if let Err(Error::Sqlite(error)) = &result
            && is_disk(error)
        {
            self.disk.failed(error, &self.path);
            if !self.defects.has(Defect::NoReadOnly) {
                return Err(Error::ReadOnly);
            }
        }
        result
    }

    /// Takes a connection without using it.
    pub async fn hold(&self) -> Result<Pooled> {
        self.pool.acquire().await
    }

    /// Whether a write reaches the disk now. This is what ends read-only mode.
    pub(crate) async fn try_disk(&self) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        blocking(move || {
            let conn = conn.get()?;
            conn.execute(
                "INSERT INTO disk_check(id, at) VALUES(1, ?1)
                 ON CONFLICT(id) DO UPDATE SET at = excluded.at",
                [crate::now_ms()],
            )?;
            Ok(())
        })
        .await
    }
}

/// Moves blocking work off the threads that serve connections.
async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(Error::Broken { what: "a database task" }))
}

/// Whether the disk is to blame.
#[must_use]
pub fn is_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
        )
    )
}

/// Whether another writer is to blame.
#[must_use]
pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A database in memory.

    /// With all tables.
    pub(crate) fn memory() -> rusqlite::Connection {
        let mut conn = rusqlite::Connection::open_in_memory().unwrap();
        super::schema::migrate(&mut conn).unwrap();
        conn
    }
}
