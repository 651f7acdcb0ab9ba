//! One lock per escrow, held by whoever drives it through wallet calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks of all escrows that are being driven.
#[derive(Debug, Default)]
pub struct Locks(Mutex<HashMap<i64, Weak<AsyncMutex<()>>>>);

impl Locks {
    /// Waits until nobody else drives escrow `id`; the guard is the proof.
    pub async fn hold(&self, id: i64) -> OwnedMutexGuard<()> {
        self.of(id).lock_owned().await
    }

    /// The lock, if nobody has it.
    pub fn try_hold(&self, id: i64) -> Option<OwnedMutexGuard<()>> {
        self.of(id).try_lock_owned().ok()
    }

    fn of(&self, id: i64) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(id, Arc::downgrade(&lock));
        lock
    }
}
