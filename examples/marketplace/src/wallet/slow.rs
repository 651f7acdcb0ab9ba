//! Remembers how slow the slowest wallet call of a request was, so that the user can be told.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

tokio::task_local! {
    static SLOWEST_MS: AtomicU64;
}

/// Notes how long a wallet call took.
pub fn observe(took: Duration) {
    let _ = SLOWEST_MS.try_with(|slowest| slowest.fetch_max(took.as_millis() as u64, Relaxed));
}

/// Runs `work`; also says how long its slowest wallet call took.
pub async fn slowest_of<F: Future>(work: F) -> (F::Output, Duration) {
    let work = async {
        let output = work.await;
        (output, Duration::from_millis(SLOWEST_MS.with(|slowest| slowest.load(Relaxed))))
    };
    SLOWEST_MS.scope(AtomicU64::new(0), work).await
}
