//! Reading request bodies: never more than the limit, never for longer than the time-out.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::header::CONTENT_LENGTH,
};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::App;
use crate::{
    defect::Defect,
    error::{Error, Result},
};

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long, and how much of, a refused body is thrown away so that its sender reads the answer.
const DISCARD: (Duration, usize) = (Duration::from_secs(2), 64 << 20);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let read = read(request.into_body(), app);
        let bytes = match tokio::time::timeout(ARRIVAL, read).await {
            Ok(bytes) => bytes?,
            Err(_) => return Err(Error::SlowBody { limit: ARRIVAL }),
        };
        let bytes = if bytes.is_empty() { b"{}".to_vec() } else { bytes };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Json).map_err(|error| Error::Body(error.to_string()))
    }
}

/// Refuses a request whose `Content-Length` says that it is too large, before reading any of it.
pub(super) async fn check_declared(request: Request, app: &App) -> Result<Request> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: Option<usize> = declared.and_then(|value| value.parse().ok());
    match declared {
        Some(length) if length > limit(app) => {
            Err(refuse(request.into_body(), Vec::new(), app).await)
        }
        _ => Ok(request),
    }
}

async fn read(mut body: Body, app: &App) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Body(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit(app) {
                return Err(refuse(body, bytes, app).await);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Throws the rest of a body away. A connection that is closed while its sender still writes is
/// reset, and the sender never sees why it was refused.
async fn refuse(mut body: Body, mut read: Vec<u8>, app: &App) -> Error {
    let defects = app.market.defects;
    if defects.has(Defect::CrashOnLargeBody) {
        crate::crash("memory allocation failed");
    }
    let keep = defects.has(Defect::ReadBodyFirst) || defects.has(Defect::BodyLeak);
    let (patience, most) = DISCARD;
    let discard = async {
        let mut total = 0;
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { break };
            total += data.len();
            if keep {
                read.extend_from_slice(&data);
            } else if total > most {
                break;
            }
        }
    };
    if defects.has(Defect::ReadBodyFirst) {
        discard.await;
    } else {
        let _ = tokio::time::timeout(patience, discard).await;
    }
    if defects.has(Defect::BodyLeak) {
        std::mem::forget(read);
    }
    tracing::warn!(size = ?body.size_hint().upper(), "request body refused");
    Error::TooLarge { limit: app.limits.body }
}

fn limit(app: &App) -> usize {
    if app.market.defects.has(Defect::NoBodyLimit) { usize::MAX } else { app.limits.body }
}
