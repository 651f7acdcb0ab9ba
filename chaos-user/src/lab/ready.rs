//! Waiting until a process answers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::error::ReadyError;
use super::spec::Ready;
use crate::kernel::netns::{NetNs, NetNsError};

/// The longest that one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The pause after the first failed attempt; it doubles up to [`PAUSE_AT_MOST`].
const PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between attempts.
const PAUSE_AT_MOST: Duration = Duration::from_millis(100);

/// How the wait ended.
pub(super) enum Waited {
    /// It answered.
    Ready,
    /// `ended` said that there is nothing to wait for any more.
    Ended,
    /// `cancelled` said so.
    Cancelled,
    /// Time is up; this is what the last attempt said.
    TimeUp(ReadyError),
}

/// Tries from inside `netns` until the check succeeds, one of the two says so or time is up.
pub(super) fn wait(
    netns: &NetNs,
    ready: &Ready,
    resolve: impl Fn(&str) -> Vec<IpAddr> + Sync,
    ended: impl Fn() -> bool + Sync,
    mut cancelled: impl FnMut() -> bool + Send,
) -> Result<Waited, NetNsError> {
    let (Ready::Tcp { within, .. } | Ready::Http { within, .. }) = ready else {
        return Ok(if ended() { Waited::Ended } else { Waited::Ready });
    };
    let deadline = Instant::now() + *within;
    netns.block_on(|| async {
        let mut pause = PAUSE;
        let mut last = ReadyError::NoAttempt;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimeUp(last);
            }
            let limit = left.min(ATTEMPT);
            match timeout(limit, attempt(ready, &resolve)).await {
                // A process that ended cannot be the one that answered.
                Ok(Ok(())) if !ended() => return Waited::Ready,
                Ok(Ok(())) => {}
                Ok(Err(error)) => last = error,
                Err(_) => last = ReadyError::Slow(limit),
            }
            if ended() {
                return Waited::Ended;
            }
            if cancelled() {
                return Waited::Cancelled;
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_AT_MOST);
        }
    })
}

async fn attempt(
    ready: &Ready,
    resolve: &(impl Fn(&str) -> Vec<IpAddr> + Sync),
) -> Result<(), ReadyError> {
    match ready {
        Ready::Started => Ok(()),
        Ready::Tcp { host, port, .. } => {
            let mut last = ReadyError::NoAddress { host: host.clone() };
            for address in resolve(host) {
                match TcpStream::connect((address, *port)).await {
                    Ok(_) => return Ok(()),
                    Err(source) => last = ReadyError::Tcp { address, port: *port, source },
                }
            }
            Err(last)
        }
        Ready::Http { url, .. } => {
            let failed = |source| ReadyError::Http { url: url.clone(), source };
            let host = reqwest::Url::parse(url).ok();
            let host = host.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
            // Port 0 means the one in the URL. A proxy in the environment is the host's.
            let addresses: Vec<SocketAddr> =
                resolve(host).into_iter().map(|address| (address, 0).into()).collect();
            let client = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .resolve_to_addrs(host, &addresses)
                .build()
                .map_err(failed)?;
            let status = client.get(url).send().await.map_err(failed)?.status();
            if status.is_success() {
                return Ok(());
            }
            Err(ReadyError::Status { url: url.clone(), status: status.as_u16() })
        }
    }
}
