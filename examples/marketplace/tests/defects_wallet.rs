//! Each defect really misbehaves: those that concern the wallet services.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Answer, Lab};

/// A lab whose arbiter's wallet never answers, and what the set-up of an escrow then says.
async fn silent_arbiter(defect: &str) -> (Lab, Option<Answer>) {
    let lab = Lab::with_defect(defect, &["--rpc-timeout-ms=300", "--request-timeout-ms=1500"]);
    let id = lab.buy("buyer-1").await;
    lab.control(2, json!({"lose": "*"})).await;
    let path = format!("/api/escrows/{id}/multisig/run");
    let post = lab.try_post("buyer-1", &path, json!({}));
    let answer = tokio::time::timeout(Duration::from_secs(3), post).await;
    let answer = answer.ok().and_then(Result::ok);
    (lab, answer)
}

/// A lab whose vendor's wallet is gone, an escrow, and the answer to funding it.
async fn dead_vendor(defect: &str) -> (Lab, i64, Option<Answer>) {
    let mut lab = Lab::with_defect(defect, &[]);
    let id = lab.escrow("buyer-1", "awaiting_funds").await;
    lab.wallets[1].kill();
    let answer = lab.try_post("buyer-1", &format!("/api/escrows/{id}/fund"), json!({})).await.ok();
    (lab, id, answer)
}

#[tokio::test]
async fn no_timeout() {
    let (_lab, answer) = silent_arbiter("no-timeout").await;
    assert_eq!(answer.unwrap().code(), "deadline", "the call should have timed out first");
}

#[tokio::test]
async fn no_request_timeout() {
    let (_lab, answer) = silent_arbiter("no-request-timeout").await;
    assert!(answer.is_none(), "it hangs");
}

#[tokio::test]
async fn panic_on_timeout() {
    let (mut lab, answer) = silent_arbiter("panic-on-timeout").await;
    assert!(answer.is_none());
    assert!(lab.dies().await);
    assert!(lab.server.logged("panicked", 1).await > 0);
}

#[tokio::test]
async fn short_timeout() {
    let lab = Lab::with_defect("short-timeout", &[]);
    let id = lab.buy("buyer-1").await;
    lab.control(0, json!({"delay_ms": 500})).await;
    let path = format!("/api/escrows/{id}/multisig/advance");
    let answer = lab.post("buyer-1", &path, json!({})).await;
    assert_eq!(answer.code(), "wallet_timeout");
}

#[tokio::test]
async fn no_slow_notice() {
    let lab = Lab::with_defect("no-slow-notice", &[]);
    let id = lab.buy("buyer-1").await;
    lab.control(0, json!({"delay_ms": 500})).await;
    let answer = lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    assert_eq!(answer.get("notice"), None);
}

#[tokio::test]
async fn panic_on_rpc_error() {
    let (mut lab, _, answer) = dead_vendor("panic-on-rpc-error").await;
    assert!(answer.is_none());
    assert!(lab.dies().await);
}

#[tokio::test]
async fn no_rollback() {
    let (lab, id, answer) = dead_vendor("no-rollback").await;
    assert_eq!(answer.unwrap().status, 503);
    assert_eq!(lab.state(id).await, "funding");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.problems().await, ["nothing_stuck"]);
}

#[tokio::test]
async fn breaker_never_closes() {
    let (mut lab, id, _) = dead_vendor("breaker-never-closes").await;
    let path = format!("/api/escrows/{id}/fund");
    for _ in 0..3 {
        lab.post("buyer-1", &path, json!({})).await;
    }
    lab.restart_wallet(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "wallet_circuit_open");
}

#[tokio::test]
async fn unhelpful_error() {
    let (_lab, _, answer) = dead_vendor("unhelpful-error").await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.message()), (500, "internal error"));
}

#[tokio::test]
async fn silent_failure() {
    let (lab, _, answer) = dead_vendor("silent-failure").await;
    assert_eq!(answer.unwrap().status, 503);
    assert!(!lab.server.log().contains("ERROR"), "{}", lab.server.log());
}

#[tokio::test]
async fn false_success() {
    let (lab, id, answer) = dead_vendor("false-success").await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(lab.state(id).await, "awaiting_funds");
}

#[tokio::test]
async fn accept_conflict() {
    let lab = Lab::with_defect("accept-conflict", &[]);
    let id = lab.buy("buyer-1").await;
    lab.control(0, json!({"lie": "address"})).await;
    lab.step("buyer-1", id, "multisig/run", json!({})).await;
    assert_eq!(lab.state(id).await, "awaiting_funds");
    assert!(lab.problems().await.contains(&"participants_agree".to_owned()));
}

#[tokio::test]
async fn half_apply_conflict() {
    let lab = Lab::with_defect("half-apply-conflict", &[]);
    let id = lab.buy("buyer-1").await;
    lab.control(0, json!({"lie": "address"})).await;
    let path = format!("/api/escrows/{id}/multisig/run");
    assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "wallet_disagreement");
    assert_eq!(lab.state(id).await, "awaiting_funds");
    assert!(lab.problems().await.contains(&"participants_agree".to_owned()));
}

#[tokio::test]
async fn stuck_after_conflict() {
    let lab = Lab::with_defect("stuck-after-conflict", &[]);
    let id = lab.buy("buyer-1").await;
    let path = format!("/api/escrows/{id}/multisig/run");
    lab.control(0, json!({"lie": "address"})).await;
    assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "wallet_disagreement");
    lab.control(0, json!({})).await;
    assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "wallet_disagreement");
}

#[tokio::test]
async fn no_breaker() {
    let (lab, id, _) = dead_vendor("no-breaker").await;
    for _ in 0..5 {
        let path = format!("/api/escrows/{id}/fund");
        assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "wallet_unreachable");
    }
    assert!(lab.text("/metrics").await.contains("breaker_state{wallet=\"vendor\"} 0"));
}

#[tokio::test]
async fn unlimited_retries() {
    let (lab, _, _) = dead_vendor("unlimited-retries").await;
    let metrics = lab.text("/metrics").await;
    let line = metrics.lines().find(|line| line.contains("rpc_retries_total{wallet=\"vendor\"}"));
    let retries: u32 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(retries > 100, "{retries}");
}

#[tokio::test]
async fn hold_connection_during_rpc() {
    let extra = ["--pool-size=2", "--pool-timeout-ms=300"];
    for (defect, starved) in [("hold-connection-during-rpc", true), ("no-slow-notice", false)] {
        let lab = Lab::with_defect(defect, &extra);
        let (one, two) = (lab.buy("buyer-1").await, lab.buy("buyer-2").await);
        lab.control(0, json!({"delay_ms": 1000})).await;
        let advance = |id: i64| {
            let path = format!("/api/escrows/{id}/multisig/advance");
            let lab = &lab;
            async move { lab.post("buyer-1", &path, json!({})).await }
        };
        let other = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            lab.get("/api/listings").await
        };
        let (_, _, other) = tokio::join!(advance(one), advance(two), other);
        assert_eq!(other.code() == "pool_timeout", starved, "{defect}");
    }
}
