//! The simulator over HTTP.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Control, RpcError, Sim};

type Shared = Arc<Mutex<Sim>>;

/// `POST /json_rpc`, and with `control` also `POST /sim`, which takes a
/// [`Control`], and `GET /sim`, which says how many answers were not true so far.
pub fn router(sim: Sim, control: bool) -> Router {
    let mut router = Router::new().route("/json_rpc", post(json_rpc));
    if control {
        router = router.route("/sim", post(set).get(show));
    }
    router.with_state(Arc::new(Mutex::new(sim)))
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

async fn json_rpc(State(sim): State<Shared>, body: Bytes) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        return axum::Json(failed(&json!(0), &RpcError::new(-32700, "Parse error")))
            .into_response();
    };
    let id = value.get("id").cloned().unwrap_or_default();
    let Ok(call) = serde_json::from_value::<Call>(value) else {
        return axum::Json(failed(&id, &RpcError::new(-32600, "Invalid Request"))).into_response();
    };
    let method = call.method.clone();
    let (answer, control) = answer(sim, call).await;
    tokio::time::sleep(Duration::from_millis(control.delay_ms)).await;
    if control.lose == "*" || control.lose == method {
        std::future::pending::<()>().await;
    }
    axum::Json(answer).into_response()
}

async fn answer(sim: Shared, call: Call) -> (Value, Control) {
    let Call { id, method, params } = call;
    // Wallet files are synced to disk: not on a thread that serves connections.
    let done = tokio::task::spawn_blocking(move || {
        let mut sim = sim.lock().unwrap_or_else(PoisonError::into_inner);
        let result = sim.call(&method, params);
        match &result {
            Ok(_) => tracing::info!(method, "call"),
            Err(error) => tracing::warn!(method, code = error.code, %error, "call refused"),
        }
        (result, sim.control.clone())
    });
    match done.await {
        Ok((Ok(result), control)) => {
            (json!({"id": id, "jsonrpc": "2.0", "result": result}), control)
        }
        Ok((Err(error), control)) => (failed(&id, &error), control),
        Err(_) => (failed(&id, &RpcError::new(-32603, "Internal error")), Control::default()),
    }
}

fn failed(id: &Value, error: &RpcError) -> Value {
    json!({"error": {"code": error.code, "message": error.message}, "id": id, "jsonrpc": "2.0"})
}

async fn show(State(sim): State<Shared>) -> axum::Json<Value> {
    let sim = sim.lock().unwrap_or_else(PoisonError::into_inner);
    axum::Json(json!({"control": sim.control, "lies": sim.lies}))
}

async fn set(State(sim): State<Shared>, body: Bytes) -> StatusCode {
    match serde_json::from_slice(&body) {
        Ok(control) => {
            sim.lock().unwrap_or_else(PoisonError::into_inner).control = control;
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
