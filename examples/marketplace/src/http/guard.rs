//! What every request passes through: admission, size, deadline, log line, metrics.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header::CONNECTION},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use serde_json::json;

use super::{App, body, reply::Failure};
use crate::{
    defect::Defect,
    error::{Error, Result},
};

/// What requests may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Longest time for an answer.
    pub deadline: Duration,
    /// Requests worked on at once.
    pub in_flight: usize,
}

pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "unknown".to_owned());

    let metrics = &app.market.metrics;
    metrics.in_flight.inc();
    let mut response = admit(&app, request, next).await.unwrap_or_else(|error| {
        let close = matches!(error, Error::TooLarge { .. });
        let mut response = error.into_response();
        if close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    });
    metrics.in_flight.dec();

    if response.status().is_client_error() && response.extensions().get::<Failure>().is_none() {
        response = explain(response.status());
    }
    let failure = response.extensions().get::<Failure>().cloned();
    if failure.is_some()
        && response.status().is_server_error()
        && app.market.defects.has(Defect::UnhelpfulError)
    {
        let body = json!({"error": {
            "code": "internal", "message": "internal error", "retryable": false,
        }});
        response = (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    }
    let (status, took) = (response.status().as_u16(), start.elapsed());
    metrics.requests.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    metrics.latency.with_label_values(&[route.as_str()]).observe(took.as_secs_f64());
    let ms = took.as_millis() as u64;
    if let Some(Failure { code, detail }) = failure {
        metrics.errors.with_label_values(&[code]).inc();
        if status >= 500 {
            tracing::error!(%method, path, status, ms, code, detail, "request failed");
        } else {
            tracing::warn!(%method, path, status, ms, code, detail, "request refused");
        }
    } else {
        tracing::info!(%method, path, status, ms, "request");
    }
    response
}

async fn admit(app: &App, request: Request, next: Next) -> Result<Response> {
    let market = &app.market;
    let Ok(_slot) = app.slots.try_acquire() else {
        market.metrics.shed.inc();
        return Err(Error::Overloaded);
    };
    if market.defects.has(Defect::RequestLeak) {
        // Else the optimiser sees that nobody reads it, and leaks nothing.
        std::mem::forget(std::hint::black_box(vec![1_u8; 64 << 10]));
    }
    if market.defects.has(Defect::PartitionHitsEveryone)
        && request.method() != Method::GET
        && !request.uri().path().ends_with("/heartbeat")
        && market.presence.count(Instant::now()).1
    {
        return Err(Error::Overloaded);
    }
    let request = body::check_declared(request, app).await?;
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = if market.defects.has(Defect::NoRequestTimeout) {
        answer.await
    } else {
        let limit = app.limits.deadline;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => return Err(Error::Deadline { limit }),
        }
    };
    answer.map_err(|_| Error::Broken { what: "a handler" })
}

/// The answer to a request that no handler took: a bad path or query, or a wrong method.
fn explain(status: StatusCode) -> Response {
    let (code, message) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("bad_method", "this address does not take that method"),
        _ => ("bad_request", "the path or the query of this request cannot be understood"),
    };
    let body = json!({"error": {"code": code, "message": message, "retryable": false}});
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(Failure { code, detail: message.to_owned() });
    response
}
