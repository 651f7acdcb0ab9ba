//! One wallet service: JSON-RPC 2.0 over HTTP, with time-outs, retries and a circuit breaker.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Breaker, BreakerState, Role, WalletError, slow};
use crate::{
    defect::{Defect, Defects},
    metrics::Metrics,
};

/// An answer larger than this is not read.
const MAX_ANSWER: usize = 1 << 20;

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub struct RpcConfig {
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a whole call.
    pub timeout: Duration,
    /// How often a call is tried, if it is safe to try it again.
    pub attempts: u32,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long it stays open.
    pub breaker_open: Duration,
}

/// The client of one wallet service.
#[derive(Debug)]
pub struct Rpc {
    role: Role,
    url: String,
    http: reqwest::Client,
    config: RpcConfig,
    breaker: Mutex<Breaker>,
    down: AtomicBool,
    defects: Defects,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Value>,
    error: Option<RpcFailure>,
}

#[derive(Deserialize)]
struct RpcFailure {
    code: i64,
    message: String,
}

impl Rpc {
    /// A client for the service at `url` (without `/json_rpc`).
    pub fn new(
        role: Role,
        url: &str,
        mut config: RpcConfig,
        defects: Defects,
        metrics: Metrics,
    ) -> reqwest::Result<Self> {
        if defects.has(Defect::ShortTimeout) {
            config.timeout = Duration::from_millis(300);
            config.attempts = 1;
        }
        let mut http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if !defects.has(Defect::NoTimeout) && !defects.has(Defect::NoRequestTimeout) {
            http = http.connect_timeout(config.connect_timeout).timeout(config.timeout);
        }
        let cool_down = if defects.has(Defect::BreakerNeverCloses) {
            Duration::from_hours(24)
        } else {
            config.breaker_open
        };
        Ok(Self {
            role,
            url: format!("{}/json_rpc", url.trim_end_matches('/')),
            http: http.build()?,
            config,
            down: AtomicBool::new(false),
            breaker: Mutex::new(Breaker::new(config.breaker_failures, cool_down)),
            defects,
            metrics,
        })
    }

    /// Calls `method`. With `repeatable` it is tried again also when the wallet may have done it.
    pub async fn call(
        &self,
        method: &'static str,
        params: Value,
        repeatable: bool,
    ) -> Result<Value, WalletError> {
        let attempts = if self.defects.has(Defect::UnlimitedRetries) {
            500
        } else {
            self.config.attempts.max(1)
        };
        let mut attempt = 1;
        loop {
            let error = match self.attempt(method, &params).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            self.crash_if_told_to(&error);
            let again = match &error {
                WalletError::Unreachable { .. } => true,
                WalletError::Timeout { .. } => repeatable,
                _ => false,
            };
            if let WalletError::Refused { .. } = &error {
                // Often an expected answer, like that of a file which is not there yet.
                tracing::debug!(wallet = %self.role, method, %error, "wallet call refused");
            } else {
                tracing::error!(wallet = %self.role, method, attempt, %error, "wallet call failed");
            }
            if !again || attempt >= attempts {
                return Err(error);
            }
            self.metrics.rpc_retries.with_label_values(&[self.role.name()]).inc();
            if !self.defects.has(Defect::UnlimitedRetries) {
                tokio::time::sleep(backoff(attempt)).await;
            }
            attempt += 1;
        }
    }

    /// The time-out of one call.
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Whether the service answers.
    pub async fn ping(&self) -> Result<(), WalletError> {
        self.attempt("get_version", &json!({})).await.map(drop)
    }

    /// Whether the last call was answered.
    pub fn answers(&self) -> bool {
        !self.down.load(Relaxed)
    }

    fn note(&self, failed: bool) {
        if failed != self.down.swap(failed, Relaxed) {
            let alert = format!("wallet_{}", self.role);
            self.metrics.alert(&alert, failed);
            if failed {
                tracing::error!(alert, wallet = %self.role, "wallet service does not answer");
            } else {
                tracing::warn!(alert, wallet = %self.role, "wallet service answers again");
            }
        }
    }

    /// What the breaker lets through now.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker().state(Instant::now())
    }

    async fn attempt(&self, method: &'static str, params: &Value) -> Result<Value, WalletError> {
        let role = self.role;
        let guarded =
            !self.defects.has(Defect::NoBreaker) && !self.defects.has(Defect::UnlimitedRetries);
        if guarded {
            let admitted = self.breaker().admit(Instant::now());
            admitted.map_err(|retry_in| WalletError::CircuitOpen { role, retry_in })?;
        }
        let start = Instant::now();
        let result = self.exchange(method, params).await;
        let took = start.elapsed();
        slow::observe(took);
        let label = match &result {
            Ok(_) => "ok",
            Err(error) if error.is_answer() => "refused",
            Err(_) => "failed",
        };
        self.metrics.rpc_calls.with_label_values(&[role.name(), label]).inc();
        self.metrics.rpc_latency.with_label_values(&[role.name()]).observe(took.as_secs_f64());
        self.note(label == "failed");
        if !guarded {
            return result;
        }
        let mut breaker = self.breaker();
        let before = breaker.state(Instant::now());
        if label == "failed" {
            breaker.failed(Instant::now());
        } else {
            breaker.succeeded();
        }
        let after = breaker.state(Instant::now());
        drop(breaker);
        if before != after {
            tracing::warn!(wallet = %role, ?before, ?after, "circuit breaker changed");
        }
        result
    }

    async fn exchange(&self, method: &'static str, params: &Value) -> Result<Value, WalletError> {
        let role = self.role;
        let failed = |source: reqwest::Error| {
            if source.is_timeout() {
                WalletError::Timeout { role, method, after: self.config.timeout }
            } else if source.is_connect() {
                WalletError::Unreachable { role, source }
            } else {
                // The connection broke after the call was sent: it may have been done.
                tracing::debug!(wallet = %role, method, %source, "the connection broke");
                WalletError::Timeout { role, method, after: self.config.timeout }
            }
        };
        let unusable = |what| WalletError::Malformed { role, method, what };
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let mut answer = self.http.post(&self.url).json(&body).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(unusable("its HTTP status"));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(unusable("its size"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| unusable("not JSON-RPC"))?;
        match answer {
            Answer { error: Some(RpcFailure { code, message }), .. } => {
                // The text of a peer is shown to users: keep it short and printable.
                let message = message.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(WalletError::Refused { role, method, code, message })
            }
            Answer { result: Some(value), .. } => Ok(value),
            _ => Err(unusable("neither result nor error")),
        }
    }

    fn crash_if_told_to(&self, error: &WalletError) {
        if self.defects.has(Defect::PanicOnRpcError) && !error.is_answer() {
            crate::crash("called `Result::unwrap()` on an `Err` value: wallet unreachable");
        }
        if self.defects.has(Defect::PanicOnTimeout) && matches!(error, WalletError::Timeout { .. })
        {
            crate::crash("called `Result::unwrap()` on an `Err` value: wallet timed out");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubles from 100 ms, with full jitter so that waiting requests do not return together.
fn backoff(attempt: u32) -> Duration {
    let ceiling = 100_u64 << attempt.min(6);
    Duration::from_millis(fastrand::u64(ceiling / 4..=ceiling))
}
