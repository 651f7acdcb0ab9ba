//! A wallet service that answers nonsense: nothing of it may be believed, or bring the server down.
#![expect(clippy::unwrap_used, reason = "a failure in a helper is a failed test")]

mod support;

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde_json::json;
use support::Lab;

type Script = Arc<Mutex<(u16, Vec<u8>)>>;

async fn answer(State(script): State<Script>) -> (StatusCode, Vec<u8>) {
    let (status, body) = script.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), body)
}

#[tokio::test]
async fn nonsense_is_refused_and_changes_nothing() {
    let script: Script = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("--wallet-arbiter=http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/json_rpc", post(answer)).with_state(Arc::clone(&script));
    let server = tokio::spawn(async { axum::serve(listener, router).await });

    let mut lab = Lab::new(&[&url]);
    let id = lab.buy("buyer-1").await;
    let result = |value: serde_json::Value| {
        serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": "0", "result": value})).unwrap()
    };
    let bidi = "\u{202e}\u{0}\r\n<script>".repeat(100);
    let cases: Vec<(u16, Vec<u8>)> = vec![
        (200, vec![]),
        (200, b"not json".to_vec()),
        (200, b"[]".to_vec()),
        (200, b"{}".to_vec()),
        (200, vec![b'['; 100_000]),
        (200, vec![b' '; 3 << 20]),
        (500, b"{}".to_vec()),
        (302, vec![]),
        (200, result(json!({}))),
        (200, result(json!(null))),
        (200, result(json!({"multisig_info": 5}))),
        (200, result(json!({"multisig_info": ""}))),
        (200, result(json!({"multisig_info": "M".repeat(500_000)}))),
        (200, serde_json::to_vec(&json!({"error": {"code": -1, "message": bidi}})).unwrap()),
        (200, serde_json::to_vec(&json!({"error": {"code": "x", "message": 1}})).unwrap()),
    ];
    for (status, body) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        *script.lock().unwrap() = (status, body);
        let path = format!("/api/escrows/{id}/multisig/advance");
        let refused = lab.post("buyer-1", &path, json!({})).await;
        assert!([502, 503, 409].contains(&refused.status), "{status} {shown}: {refused:?}");
        assert!(refused.message().len() < 500);
        let escrow = lab.get(&format!("/api/escrows/{id}")).await.body;
        assert_eq!((&escrow["state"], &escrow["address"]), (&json!("multisig"), &json!(null)));
        assert!(lab.server.is_running());
    }
    assert_eq!(lab.problems().await, [""; 0]);
    server.abort();
}
