//! Answers: JSON, with a notice when the network is slow, and errors that say what to do.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;

/// The header that repeats the notice.
const NOTICE: HeaderName = HeaderName::from_static("x-notice");

/// A successful answer.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub(super) value: T,
    pub(super) status: StatusCode,
    /// How long the slowest wallet call took, if the user should be told.
    pub(super) slow: Option<Duration>,
}

impl<T> Reply<T> {
    pub(super) fn ok(value: T) -> Self {
        Self { value, status: StatusCode::OK, slow: None }
    }

    pub(super) fn created(value: T) -> Self {
        Self { value, status: StatusCode::CREATED, slow: None }
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut value = match serde_json::to_value(&self.value) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                return Error::Broken { what: "the answer" }.into_response();
            }
        };
        let notice = self.slow.map(|took| {
            format!(
                "slow network: a wallet service took {:.1} s to answer; everything was done",
                took.as_secs_f64()
            )
        });
        if let (Some(notice), Value::Object(fields)) = (&notice, &mut value) {
            fields.insert("notice".to_owned(), json!(notice));
        }
        let mut response = (self.status, Json(value)).into_response();
        if let Some(Ok(notice)) = notice.as_deref().map(HeaderValue::from_str) {
            response.headers_mut().insert(NOTICE, notice);
        }
        response
    }
}

/// Left in an error's response for the access log.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({"error": {
            "code": self.code(), "message": self.to_string(), "retryable": self.retryable(),
        }});
        let mut response = (status, Json(body)).into_response();
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        let detail = match &self {
            Error::Wallet(inner) => inner.to_string(),
            Error::Sqlite(inner) => inner.to_string(),
            Error::Broken { what } => format!("{self}: {what} failed"),
            other => other.to_string(),
        };
        response.extensions_mut().insert(Failure { code: self.code(), detail });
        response
    }
}
