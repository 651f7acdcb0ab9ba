//! A bounded pool of database connections with a queue that has an end.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::{
    defect::{Defect, Defects},
    error::{Error, Result},
    metrics::Metrics,
};

/// How many connections there are, and how long a request may wait for one.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// The number of connections; they are all opened at the start.
    pub size: usize,
    /// How many requests may wait.
    pub queue: usize,
    /// How long one may wait.
    pub timeout: Duration,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<VecDeque<Connection>>,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    config: PoolConfig,
    defects: Defects,
    metrics: Metrics,
}

impl Pool {
    /// Opens all connections, so that a full disk or a lack of descriptors later cannot stop reads.
    pub(super) fn open(
        path: &Path,
        config: PoolConfig,
        defects: Defects,
        metrics: Metrics,
    ) -> rusqlite::Result<Self> {
        let idle = (0..config.size.max(1)).map(|_| connect(path)).collect::<Result<_, _>>()?;
        metrics.pool_size.set(i64::try_from(config.size.max(1)).unwrap_or(i64::MAX));
        Ok(Self {
            idle: Mutex::new(idle),
            free: Arc::new(Semaphore::new(config.size.max(1))),
            waiting: AtomicUsize::new(0),
            config,
            defects,
            metrics,
        })
    }

    /// Takes a connection, waiting for one if all are in use.
    pub async fn acquire(self: &Arc<Self>) -> Result<Pooled> {
        let (permit, waited) = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(TryAcquireError::NoPermits) => (self.queue().await?, true),
            Err(TryAcquireError::Closed) => return Err(Error::Broken { what: "the pool" }),
        };
        // There are as many connections as permits, so one is there.
        let conn = self.lock().pop_front().ok_or(Error::Broken { what: "the pool" })?;
        self.metrics.pool_in_use.inc();
        Ok(Pooled { conn: Some(conn), waited, _permit: permit, pool: Arc::clone(self) })
    }

    async fn queue(&self) -> Result<OwnedSemaphorePermit> {
        if self.defects.has(Defect::PoolNoQueue) {
            return Err(Error::Broken { what: "the pool" });
        }
        let waiter = Waiter::new(self);
        if waiter.before >= self.config.queue {
            return Err(Error::Overloaded);
        }
        let start = Instant::now();
        let free = Arc::clone(&self.free).acquire_owned();
        let limit = match () {
            () if self.defects.has(Defect::PoolDeadlock) => Duration::from_hours(1),
            () if self.defects.has(Defect::ExitOnPoolTimeout) => Duration::from_millis(5),
            () => self.config.timeout,
        };
        if let Ok(permit) = tokio::time::timeout(limit, free).await {
            self.metrics.pool_wait.observe(start.elapsed().as_secs_f64());
            return permit.map_err(|_| Error::Broken { what: "the pool" });
        }
        self.metrics.pool_timeouts.inc();
        if self.defects.has(Defect::ExitOnPoolTimeout) {
            crate::crash("no database connection became free in time");
        }
        Err(Error::PoolTimeout { waited: start.elapsed() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a waiting request, also when that request goes away.
struct Waiter<'a> {
    pool: &'a Pool,
    before: usize,
}

impl<'a> Waiter<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.metrics.pool_waiting.inc();
        Self { pool, before: pool.waiting.fetch_add(1, Relaxed) }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Relaxed);
        self.pool.metrics.pool_waiting.dec();
    }
}

/// A connection that goes back to the pool when it is dropped.
#[derive(Debug)]
pub struct Pooled {
    conn: Option<Connection>,
    /// Whether it was not free at once.
    waited: bool,
    _permit: OwnedSemaphorePermit,
    pool: Arc<Pool>,
}

impl Pooled {
    /// The connection.
    pub(super) fn get(&mut self) -> Result<&mut Connection> {
        self.conn.as_mut().ok_or(Error::Broken { what: "the pool" })
    }
}

impl Pooled {
    /// What a write does with its connection when it is done.
    pub(super) fn give_back(self) {
        if self.waited && self.pool.defects.has(Defect::PoolLeak) {
            std::mem::forget(self);
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let pool = &self.pool;
        if let Some(conn) = self.conn.take() {
            if !conn.is_autocommit()
                && let Err(error) = conn.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "a transaction that was left open could not be rolled back");
            }
            pool.lock().push_back(conn);
        }
        pool.metrics.pool_in_use.dec();
    }
}

/// Opens one connection with the settings that every connection has.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}
