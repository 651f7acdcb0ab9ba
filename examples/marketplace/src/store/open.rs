//! Opening the data folder: one process only, an intact database, the newest schema.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::fcntl::{Flock, FlockArg};

use super::{Disk, Pool, PoolConfig, Store, pool, schema};
use crate::{
    defect::{Defect, Defects},
    metrics::Metrics,
};

/// What a start is like for a service that keeps the messages of running set-ups in memory.
const FORGET_MULTISIG: &str = "
    DELETE FROM messages WHERE escrow_id IN (SELECT id FROM escrows WHERE state = 'multisig');
    DELETE FROM sessions WHERE escrow_id IN (SELECT id FROM escrows WHERE state = 'multisig');";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or read.
    #[error("cannot use the data folder {path}: {source}; check its owner and the free space")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data folder {path} is in use by another process; stop that one first")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database does not pass its integrity check.
    #[error("the database {path} is damaged ({problem}); restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first line of the check.
        problem: String,
    },
    /// SQLite failed.
    #[error("cannot open the database {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Opens the store in `data`. The returned lock must live as long as the store.
pub fn open(
    data: &Path,
    config: PoolConfig,
    disk_reserve: u64,
    defects: Defects,
    metrics: &Metrics,
) -> Result<(Store, Flock<File>), OpenError> {
    let folder = |source| OpenError::Folder { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(folder)?;
    if defects.has(Defect::StaleLock) {
        File::create_new(data.join("lock.pid")).map_err(folder)?;
    }
    let lock = File::create(data.join("lock")).map_err(folder)?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| OpenError::InUse { path: data.to_owned() })?;

    let path = database(data, defects);
    if defects.has(Defect::LostWrites) && data.join("market.db").exists() {
        fs::copy(data.join("market.db"), &path).map_err(folder)?;
    }
    let sqlite = |source| OpenError::Sqlite { path: path.clone(), source };
    let mut conn = pool::connect(&path).map_err(sqlite)?;
    let problem: String =
        conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if problem != "ok" {
        return Err(OpenError::Damaged { path, problem });
    }
    schema::migrate(&mut conn).map_err(sqlite)?;
    if defects.has(Defect::MemoryMultisig) {
        conn.execute_batch(FORGET_MULTISIG).map_err(sqlite)?;
    }
    let pool = Pool::open(&path, config, defects, metrics.clone()).map_err(sqlite)?;
    let disk = Disk::new(data, disk_reserve, defects, metrics.clone());
    let store = Store { pool: Arc::new(pool), disk: Arc::new(disk), defects, path };
    Ok((store, lock))
}

/// What a clean shut-down does to the data folder.
pub fn save(data: &Path, defects: Defects) -> rusqlite::Result<()> {
    if defects.has(Defect::StaleLock) {
        let _ = fs::remove_file(data.join("lock.pid"));
    }
    if defects.has(Defect::LostWrites) {
        let _ = fs::remove_file(data.join("market.db"));
        let target = data.join("market.db").to_string_lossy().into_owned();
        pool::connect(&database(data, defects))?.execute("VACUUM INTO ?1", [target])?;
    }
    Ok(())
}

/// The database file. The working copy of a process that loses its writes has the pid in its name.
fn database(data: &Path, defects: Defects) -> PathBuf {
    if defects.has(Defect::LostWrites) {
        data.join(format!("market-{}.db", std::process::id()))
    } else {
        data.join("market.db")
    }
}
