//! A front of a real monero-wallet-rpc: calls and answers pass, unless it was told to misbehave.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::post,
};
use reqwest::Client;
use serde_json::{Value, json};

use super::Control;

/// A connection to a wallet on this host takes no time, unless nobody is there.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Front {
    http: Client,
    url: String,
    /// How it misbehaves, and how many answers were not true so far.
    state: Mutex<(Control, u64)>,
}

type Shared = Arc<Front>;

/// `POST /json_rpc`, answered by the service at `url` (without `/json_rpc`); with `control` also what
/// [`router`](super::router) has. A service that does not answer is 502: who waits for how long is
/// the caller's business.
pub fn forward(url: &str, control: bool) -> reqwest::Result<Router> {
    let http = Client::builder().no_proxy().connect_timeout(CONNECT).build()?;
    let url = format!("{}/json_rpc", url.trim_end_matches('/'));
    let mut router = Router::new().route("/json_rpc", post(json_rpc));
    if control {
        router = router.route("/sim", post(set).get(show));
    }
    Ok(router.with_state(Arc::new(Front { http, url, state: Mutex::default() })))
}

async fn json_rpc(State(front): State<Shared>, body: Bytes) -> Response {
    let method = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|call| Some(call.get("method")?.as_str()?.to_owned()))
        .unwrap_or_default();
    let answer = match front.ask(body).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(method, %error, "the wallet did not answer");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    let (answer, control) = front.distort(answer);
    tokio::time::sleep(Duration::from_millis(control.delay_ms)).await;
    if control.lose == "*" || control.lose == method {
        std::future::pending::<()>().await;
    }
    ([(CONTENT_TYPE, "application/json")], answer).into_response()
}

impl Front {
    async fn ask(&self, body: Bytes) -> reqwest::Result<Bytes> {
        let request = self.http.post(&self.url).header("Content-Type", "application/json");
        request.body(body).send().await?.error_for_status()?.bytes().await
    }

    /// The answer, unchanged to the byte unless it has to be a lie, and how else to misbehave.
    fn distort(&self, answer: Bytes) -> (Bytes, Control) {
        let mut state = self.state();
        let (control, lies) = &mut *state;
        let lie = serde_json::from_slice::<Value>(&answer).ok().and_then(|mut told| {
            let result = told.get_mut("result")?;
            control.distort(result).then(|| Bytes::from(told.to_string()))
        });
        *lies += u64::from(lie.is_some());
        (lie.unwrap_or(answer), control.clone())
    }

    fn state(&self) -> MutexGuard<'_, (Control, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn show(State(front): State<Shared>) -> axum::Json<Value> {
    let (control, lies) = &*front.state();
    axum::Json(json!({"control": control, "lies": lies}))
}

async fn set(State(front): State<Shared>, body: Bytes) -> StatusCode {
    match serde_json::from_slice(&body) {
        Ok(control) => {
            front.state().0 = control;
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Lie;

    fn front() -> Front {
        Front { http: Client::new(), url: String::new(), state: Mutex::default() }
    }

    #[test]
    fn answers_pass_unless_there_is_something_to_lie_about() {
        let front = front();
        let honest = Bytes::from_static(br#"{"result": {"address": "4A",  "multisig_info": "M"}}"#);
        assert_eq!(front.distort(honest.clone()).0, honest);
        front.state().0.lie = Lie::Address;
        let (told, _) = front.distort(honest);
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["result"]["multisig_info"], "M");
        assert_ne!(told["result"]["address"], "4A");
        for other in [&br#"{"result": {"address": ""}}"#[..], br#"{"error": {}}"#, b"no JSON"] {
            let other = Bytes::copy_from_slice(other);
            assert_eq!(front.distort(other.clone()).0, other);
        }
        assert_eq!(front.state().1, 1);
    }
}
