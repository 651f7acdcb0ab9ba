//! What users do when nothing goes wrong, and what they may not do.

mod support;

use serde_json::json;
use support::Lab;

const PRICE: i64 = 100_000_000_000;

#[tokio::test]
async fn a_trade_moves_the_money_once() {
    let lab = Lab::new(&[]);
    let (before, earned) = (lab.balance("buyer-1").await, lab.balance("vendor-1").await);
    let id = lab.escrow("buyer-1", "shipped").await;
    assert_eq!(lab.balance("buyer-1").await, before - PRICE);
    let released = lab.step("buyer-1", id, "release", json!({})).await;
    assert_eq!(released["state"], "released");
    assert!(released["address"].as_str().unwrap().starts_with('4'));
    assert_eq!(released["tx_hash"].as_str().unwrap().len(), 64);
    assert_eq!(lab.balance("vendor-1").await, earned + PRICE);
    assert_eq!(lab.problems().await, [""; 0]);
    let history = lab.get(&format!("/api/escrows/{id}/history")).await.body;
    let states: Vec<_> =
        history.as_array().unwrap().iter().map(|event| event["to"].as_str().unwrap()).collect();
    assert_eq!(
        states,
        ["multisig", "awaiting_funds", "funding", "funded", "shipped", "releasing", "released"]
    );
}

#[tokio::test]
async fn a_dispute_is_decided_by_the_arbiter_only() {
    let lab = Lab::new(&[]);
    let before = lab.balance("buyer-1").await;
    let id = lab.escrow("buyer-1", "disputed").await;
    let path = format!("/api/escrows/{id}/resolve");
    for user in ["buyer-1", "vendor-1", "arbiter-2", "nobody"] {
        let refused = lab.post(user, &path, json!({"outcome": "refund"})).await;
        assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    }
    let resolved = lab.step("arbiter-1", id, "resolve", json!({"outcome": "refund"})).await;
    assert_eq!(resolved["state"], "resolved_refund");
    assert_eq!(lab.balance("buyer-1").await, before);
    let again = lab.post("arbiter-1", &path, json!({"outcome": "release"})).await;
    assert_eq!((again.status, again.code()), (409, "wrong_state"));
    assert_eq!(lab.problems().await, [""; 0]);
}

#[tokio::test]
async fn a_repeated_request_with_a_key_is_done_once() {
    let lab = Lab::new(&[]);
    let before = lab.balance("buyer-1").await;
    for _ in 0..3 {
        let path = "/api/users/buyer-1/deposit";
        let paid = lab.post_with_key("buyer-1", "k1", path, json!({"amount": 5})).await;
        assert_eq!(paid.status, 200);
    }
    assert_eq!(lab.balance("buyer-1").await, before + 5);
    let id = lab.escrow("buyer-1", "awaiting_funds").await;
    for _ in 0..3 {
        let path = format!("/api/escrows/{id}/fund");
        let funded = lab.post_with_key("buyer-1", "k2", &path, json!({})).await;
        assert_eq!((funded.status, funded.body["state"].as_str()), (200, Some("funded")));
    }
    assert_eq!(lab.balance("buyer-1").await, before + 5 - PRICE);
    let path = format!("/api/escrows/{id}/release");
    let reused = lab.post_with_key("buyer-1", "k2", &path, json!({})).await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
}

#[tokio::test]
async fn nonsense_is_refused_in_json() {
    let lab = Lab::new(&[]);
    let cases = [
        ("/api/escrows/x", 400, "bad_request"),
        ("/api/escrows/999", 404, "not_found"),
        ("/api/users/nobody", 404, "not_found"),
        ("/nothing", 404, "not_found"),
        ("/api/escrows?state=limbo", 400, "bad_request"),
    ];
    for (path, status, code) in cases {
        let answer = lab.get(path).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
        assert!(!answer.message().is_empty());
    }
    let unknown = lab.post("buyer-1", "/api/escrows", json!({"listing": "x"})).await;
    assert_eq!((unknown.status, unknown.code()), (400, "bad_body"));
    let poor = lab.post("b", "/api/users/buyer-1/withdraw", json!({"amount": i64::MAX})).await;
    assert_eq!((poor.status, poor.code()), (400, "invalid"));
    let minus = lab.post("b", "/api/users/buyer-1/deposit", json!({"amount": -5})).await;
    assert_eq!(minus.status, 400);
    let poor = lab.post("b", "/api/users/vendor-1/withdraw", json!({"amount": 1})).await;
    assert_eq!((poor.status, poor.code()), (422, "insufficient_funds"));
}

#[tokio::test]
async fn health_metrics_and_shut_down() {
    let mut lab = Lab::new(&[]);
    let health = lab.get("/healthz").await;
    assert_eq!((health.status, health.body["status"].as_str()), (200, Some("ok")));
    lab.escrow("buyer-1", "awaiting_funds").await;
    let metrics = lab.text("/metrics").await;
    for line in [
        "marketplace_escrows{state=\"awaiting_funds\"} 1",
        "marketplace_pool_size 5",
        "marketplace_breaker_state{wallet=\"buyer\"} 0",
        "marketplace_read_only 0",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    assert!(lab.server.terminate().success());
    assert_eq!(lab.server.logged("\"stopped\"", 1).await, 1);
    lab.restart();
    assert_eq!(lab.state(1).await, "awaiting_funds");
}
