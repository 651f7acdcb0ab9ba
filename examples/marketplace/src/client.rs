//! A client of the marketplace: does one step as one user and says how it ended.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

/// How an operation ended, in the sense of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was done.
    Ok,
    /// It certainly was not done.
    Fail,
    /// It may have been done.
    Info,
}

/// The result of one operation.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The HTTP status of the last attempt; 0 if there was no answer.
    pub status: u16,
    /// How long it took, all attempts together.
    pub ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// What the user should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// The answer.
    pub body: Value,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// From the server's root.
    pub path: String,
    /// The JSON body, if any.
    pub body: Option<Value>,
}

impl Call {
    /// Reads.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None }
    }

    /// Changes something.
    #[must_use]
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), body: Some(body) }
    }
}

/// A user at their computer.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    user: String,
    retries: u32,
    slow: Duration,
}

impl Client {
    /// A client that waits `timeout` for each answer and tries again up to `retries` times.
    pub fn new(server: &str, user: &str, timeout: Duration, retries: u32) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build()?;
        let slow = Duration::from_millis(400);
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { http, server, user: user.to_owned(), retries, slow })
    }

    /// Does `call`. All attempts carry the same idempotency key.
    pub async fn run(&self, call: &Call) -> Outcome {
        let start = Instant::now();
        let key = format!("{:016x}", fastrand::u64(..));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let tried = Instant::now();
            let (ending, status, body) = self.attempt(call, &key).await;
            let again = status == 0 || body["error"]["retryable"] == json!(true);
            if ending != Ending::Ok && again && attempts <= self.retries {
                let ceiling = 100_u64 << attempts.min(5);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(ceiling / 2..=ceiling)))
                    .await;
                continue;
            }
            let notice = self.notice(status, tried.elapsed(), &body);
            let ms = start.elapsed().as_millis() as u64;
            return Outcome { ending, status, ms, attempts, notice, body };
        }
    }

    async fn attempt(&self, call: &Call, key: &str) -> (Ending, u16, Value) {
        let url = format!("{}{}", self.server, call.path);
        let mut request = self.http.request(call.method.clone(), url).header("X-User", &self.user);
        if call.method != Method::GET {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let ending = if error.is_connect() { Ending::Fail } else { Ending::Info };
                return (
                    ending,
                    0,
                    json!({"error": {"code": "no_answer",
                    "message": error.to_string(), "retryable": true}}),
                );
            }
        };
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        let ending = match status.as_u16() {
            200..=299 => Ending::Ok,
            500 | 504 => Ending::Info,
            _ if body["error"]["code"] == "payment_in_doubt" => Ending::Info,
            _ => Ending::Fail,
        };
        (ending, status.as_u16(), body)
    }

    fn notice(&self, status: u16, took: Duration, body: &Value) -> Option<String> {
        if let Some(notice) = body["notice"].as_str() {
            return Some(notice.to_owned());
        }
        let seconds = took.as_secs_f64();
        if status == 0 {
            Some(format!("the marketplace did not answer ({seconds:.1} s); retry in a moment"))
        } else if took > self.slow {
            Some(format!("slow network: the marketplace took {seconds:.1} s to answer"))
        } else {
            None
        }
    }
}
