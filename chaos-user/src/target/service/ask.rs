//! Waiting for an answer, from code that is not asynchronous.

use std::thread;
use std::time::Duration;

use super::error::ServiceError;

/// How long a supervisor may take to answer. Stopping takes as long as the service does.
const WITHIN: Duration = Duration::from_secs(30);

/// Runs an exchange with a supervisor to its end, on a thread of its own: whoever calls may itself
/// be run by a runtime.
pub(super) fn wait<T: Send>(
    whom: &'static str,
    exchange: impl Future<Output = Result<T, ServiceError>> + Send,
) -> Result<T, ServiceError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ServiceError::Unreachable {
            whom: whom.to_owned(),
            why: error.to_string(),
        })?;
        runtime.block_on(async {
            let outcome = tokio::time::timeout(WITHIN, exchange).await;
            outcome.unwrap_or(Err(ServiceError::Silent { whom, seconds: WITHIN.as_secs() }))
        })
    };
    let done = thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|_| {
        Err(ServiceError::Answer { whom, why: "it made the tool panic".into() })
    })
}
