//! The faults of the scenario catalogue, in small, against the healthy service.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::Lab;

const PRICE: i64 = 100_000_000_000;
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn fifty_users_share_five_connections() {
    let lab = Lab::new(&["--pool-size=2"]);
    let trades = (1..=50).map(|n| {
        let lab = &lab;
        async move {
            let buyer = format!("buyer-{n}");
            let id = lab.escrow(&buyer, "shipped").await;
            lab.step(&buyer, id, "release", json!({})).await;
        }
    });
    futures_util::future::join_all(trades).await;
    assert_eq!(lab.balance("vendor-1").await, 50 * PRICE);
    assert_eq!(lab.problems().await, [""; 0]);
    let metrics = lab.text("/metrics").await;
    assert!(metrics.contains("marketplace_pool_in_use 0"), "a connection was lost");
    assert!(metrics.contains("marketplace_pool_timeouts_total 0"));
}

#[tokio::test]
async fn simultaneous_resolutions_pay_once() {
    let lab = Lab::new(&[]);
    let before = lab.balance("buyer-1").await;
    let id = lab.escrow("buyer-1", "disputed").await;
    let path = format!("/api/escrows/{id}/resolve");
    let tries = (0..5).map(|n| {
        let outcome = if n % 2 == 0 { "release" } else { "refund" };
        lab.post("arbiter-1", &path, json!({"outcome": outcome}))
    });
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.code() == "wrong_state").count(), 4);
    let total = lab.balance("vendor-1").await + lab.balance("buyer-1").await;
    assert_eq!(total, before);
    assert_eq!(lab.problems().await, [""; 0]);
}

#[tokio::test]
async fn a_killed_server_goes_on_with_the_set_up() {
    let mut lab = Lab::new(&[]);
    let id = lab.buy("buyer-1").await;
    lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    let before = lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    assert_eq!(before["round"], 2);
    lab.server.kill();
    lab.restart();
    let after = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
    assert_eq!((&after["round"], &after["attempt"]), (&json!(2), &json!(1)));
    assert_eq!(after["messages"], before["messages"]);
    let done = lab.step("buyer-1", id, "multisig/run", json!({})).await;
    assert_eq!((&done["round"], &done["attempt"]), (&json!(4), &json!(1)));
    assert_eq!(lab.state(id).await, "awaiting_funds");
}

#[tokio::test]
async fn killed_at_any_moment_it_recovers_by_itself() {
    let mut lab = Lab::new(&[]);
    for moment in 0..6_u64 {
        let buyer = format!("buyer-{}", moment + 1);
        let id = lab.buy(&buyer).await;
        for what in ["multisig/run", "fund"] {
            let path = format!("/api/escrows/{id}/{what}");
            let wait = Duration::from_millis(5 + moment * 12);
            let killed = async {
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                _ = lab.try_post(&buyer, &path, json!({})) => {}
                () = killed => {}
            }
            lab.server.kill();
            lab.restart();
            let settled =
                async || !["funding", "releasing"].contains(&lab.state(id).await.as_str());
            assert!(lab.eventually(SOON, settled).await, "{id} is stuck");
            if lab.state(id).await != "funded" {
                lab.step(&buyer, id, "multisig/run", json!({})).await;
            }
        }
        if lab.state(id).await == "awaiting_funds" {
            lab.step(&buyer, id, "fund", json!({})).await;
        }
        lab.step("vendor-1", id, "ship", json!({})).await;
        let path = format!("/api/escrows/{id}/release");
        tokio::select! {
            _ = lab.try_post(&buyer, &path, json!({})) => {}
            () = tokio::time::sleep(Duration::from_millis(moment * 8)) => {}
        }
        lab.server.kill();
        lab.restart();
        let settled = async || {
            let state = lab.state(id).await;
            state == "shipped" || state == "released"
        };
        assert!(lab.eventually(SOON, settled).await, "{id} is stuck");
        if lab.state(id).await == "shipped" {
            lab.step(&buyer, id, "release", json!({})).await;
        }
        assert_eq!(lab.problems().await, [""; 0]);
    }
    assert_eq!(lab.balance("vendor-1").await, 6 * PRICE);
}

#[tokio::test]
async fn a_stopped_wallet_rolls_back_and_a_retry_works() {
    let mut lab = Lab::new(&[]);
    let before = lab.balance("buyer-1").await;
    let id = lab.escrow("buyer-1", "awaiting_funds").await;
    lab.wallets[1].kill();
    let start = Instant::now();
    let failed = lab.post("buyer-1", &format!("/api/escrows/{id}/fund"), json!({})).await;
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(failed.status, 503);
    // If the checks in the background were faster, the breaker is open already.
    assert!(["wallet_unreachable", "wallet_circuit_open"].contains(&failed.code()), "{failed:?}");
    assert!(failed.message().starts_with("the vendor's wallet service is unreachable"));
    assert!(failed.message().ends_with("; your escrow was not changed; retry in a moment"));
    assert!(failed.headers.contains_key("retry-after"));
    assert_eq!(lab.state(id).await, "awaiting_funds");
    assert_eq!(lab.balance("buyer-1").await, before);
    assert_eq!(lab.problems().await, [""; 0]);
    assert_eq!(lab.server.logged("rolled back", 1).await, 1);
    let health = lab.get("/healthz").await;
    assert_eq!((health.status, health.body["status"].as_str()), (200, Some("degraded")));

    // The breaker spares a dead wallet further calls.
    for _ in 0..4 {
        lab.post("buyer-1", &format!("/api/escrows/{id}/fund"), json!({})).await;
    }
    assert!(lab.server.logged("circuit breaker changed", 1).await > 0);
    lab.restart_wallet(1);
    let funded = async || {
        let path = format!("/api/escrows/{id}/fund");
        lab.post("buyer-1", &path, json!({})).await.status == 200
    };
    assert!(lab.eventually(SOON, funded).await);
    let healthy = async || lab.get("/readyz").await.status == 200;
    assert!(lab.eventually(SOON, healthy).await);
    assert_eq!(lab.problems().await, [""; 0]);
}

#[tokio::test]
async fn a_payment_whose_answer_is_lost_is_made_once() {
    for lost in ["submit_multisig", "sign_multisig"] {
        let mut lab = Lab::new(&["--rpc-timeout-ms=500"]);
        let id = lab.escrow("buyer-1", "shipped").await;
        // The vendor's wallet is the one that submits.
        lab.control(1, json!({"lose": lost})).await;
        let path = format!("/api/escrows/{id}/release");
        let failed = lab.post("buyer-1", &path, json!({})).await;
        let in_doubt = lost == "submit_multisig";
        let code = if in_doubt { "payment_in_doubt" } else { "wallet_timeout" };
        assert_eq!(failed.code(), code, "{failed:?}");
        lab.restart_wallet(1);
        let expected = if in_doubt { "released" } else { "shipped" };
        let settled = async || lab.state(id).await == expected;
        assert!(lab.eventually(SOON, settled).await, "{lost}: {}", lab.state(id).await);
        // Once more: refused if it was paid, else done.
        let expected = if in_doubt { 409 } else { 200 };
        let again = async || lab.post("buyer-1", &path, json!({})).await.status == expected;
        assert!(lab.eventually(SOON, again).await, "{lost}");
        assert_eq!(lab.balance("vendor-1").await, PRICE);
        assert_eq!(lab.problems().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_slow_wallet_is_told_to_the_user() {
    let lab = Lab::new(&[]);
    let id = lab.buy("buyer-1").await;
    lab.control(0, json!({"delay_ms": 500})).await;
    let slow = lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    assert!(slow["notice"].as_str().unwrap().starts_with("slow network"));
    lab.control(0, json!({})).await;
    let fast = lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    assert_eq!(fast.get("notice"), None);
}

#[tokio::test]
async fn a_wallet_that_never_answers_times_out() {
    let lab = Lab::new(&["--rpc-timeout-ms=300"]);
    let id = lab.buy("buyer-1").await;
    lab.control(2, json!({"lose": "*"})).await;
    let failed = lab.post("buyer-1", &format!("/api/escrows/{id}/multisig/run"), json!({})).await;
    assert_eq!(failed.status, 504, "{failed:?}");
    assert!(failed.message().starts_with("slow network: the arbiter's wallet service"));
    lab.control(2, json!({})).await;
    let done = async || {
        let path = format!("/api/escrows/{id}/multisig/run");
        lab.post("buyer-1", &path, json!({})).await.status == 200
    };
    assert!(lab.eventually(SOON, done).await);
    assert_eq!(lab.state(id).await, "awaiting_funds");
}

#[tokio::test]
async fn conflicting_answers_are_refused_whole() {
    for lie in ["address", "info"] {
        let lab = Lab::new(&[]);
        let id = lab.buy("buyer-1").await;
        lab.control(0, json!({"lie": lie})).await;
        let path = format!("/api/escrows/{id}/multisig/run");
        let refused = lab.post("buyer-1", &path, json!({})).await;
        assert_eq!((refused.status, refused.code()), (502, "wallet_disagreement"));
        let escrow = lab.get(&format!("/api/escrows/{id}")).await.body;
        assert_eq!((&escrow["state"], &escrow["address"]), (&json!("multisig"), &json!(null)));
        assert_eq!(lab.problems().await, [""; 0]);
        lab.control(0, json!({})).await;
        let done = lab.step("buyer-1", id, "multisig/run", json!({})).await;
        assert_eq!(done["attempt"], 2);
        assert_eq!(lab.state(id).await, "awaiting_funds");
    }
}

#[tokio::test]
async fn large_bodies_are_refused_and_leave_nothing_behind() {
    let lab = Lab::new(&[]);
    lab.get("/healthz").await;
    let before = lab.server.rss_kib();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = lab.url("/api/users/buyer-1/deposit");
    for round in 0..3 {
        let posts = (0..10).map(|_| http.post(&url).body(vec![b'x'; 10 << 20]).send());
        for answer in futures_util::future::join_all(posts).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status().as_u16(), 413, "round {round}");
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["error"]["code"], "too_large");
        }
    }
    let grown = lab.server.rss_kib().saturating_sub(before);
    assert!(grown < 20 << 10, "grew by {grown} KiB");
    assert_eq!(lab.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_silent_user_is_offline_and_the_others_go_on() {
    let lab = Lab::new(&["--presence-ms=400"]);
    let status = async |user: &str| {
        let user = lab.get(&format!("/api/users/{user}")).await.body;
        user["presence"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status("buyer-1").await, "offline");
    for user in ["buyer-1", "vendor-1"] {
        assert_eq!(
            lab.post(user, &format!("/api/users/{user}/heartbeat"), json!({})).await.status,
            200
        );
        assert_eq!(status(user).await, "online");
    }
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        lab.post("vendor-1", "/api/users/vendor-1/heartbeat", json!({})).await;
    }
    assert_eq!(
        (status("buyer-1").await, status("vendor-1").await),
        ("offline".into(), "online".into())
    );
    let new = json!({"id": "hat", "title": "A hat", "price": 5});
    assert_eq!(lab.post("vendor-1", "/api/listings", new).await.status, 201);
    lab.post("buyer-1", "/api/users/buyer-1/heartbeat", json!({})).await;
    assert_eq!(status("buyer-1").await, "online");
}

#[tokio::test]
async fn a_set_up_whose_answer_is_lost_goes_on_by_itself() {
    for lost in ["prepare_multisig", "make_multisig", "exchange_multisig_keys"] {
        let mut lab = Lab::new(&["--rpc-timeout-ms=300"]);
        let id = lab.buy("buyer-1").await;
        lab.control(1, json!({"lose": lost})).await;
        let path = format!("/api/escrows/{id}/multisig/run");
        let failed = lab.post("buyer-1", &path, json!({})).await;
        assert_eq!(failed.code(), "wallet_timeout", "{lost}: {failed:?}");
        lab.restart_wallet(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let done = lab.step("buyer-1", id, "multisig/run", json!({})).await;
        assert_eq!(done["round"], 4, "{lost}");
        assert_eq!(lab.problems().await, [""; 0]);
    }
}
