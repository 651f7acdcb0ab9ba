//! Each defect really misbehaves: those that concern what comes in from outside.

mod support;

use std::time::Duration;

use marketplace::defect::CATALOGUE;
use serde_json::json;
use support::{
    Lab,
    custody::{infos_of_others, own_wallet, self_custody, send},
};

#[test]
fn every_defect_has_a_test() {
    let tests = [
        include_str!("defects_wallet.rs"),
        include_str!("defects_data.rs"),
        include_str!("defects_edge.rs"),
    ]
    .concat();
    for entry in CATALOGUE {
        let test = format!("async fn {}()", entry.name.replace('-', "_"));
        assert!(tests.contains(&test), "{} has no test", entry.name);
    }
}

#[tokio::test]
async fn accept_malformed() {
    let lab = Lab::with_defect("accept-malformed", &[]);
    let id = self_custody(&lab).await;
    assert_eq!(send(&lab, id, "buyer-1", 1, "INVALID@#$%").await.status, 200);
}

#[tokio::test]
async fn panic_on_malformed() {
    let mut lab = Lab::with_defect("panic-on-malformed", &[]);
    let id = self_custody(&lab).await;
    let body = json!({"round": 1, "info": "INVALID@#$%"});
    let path = format!("/api/escrows/{id}/multisig/info");
    assert!(lab.try_post("buyer-1", &path, body).await.is_err());
    assert!(lab.dies().await);
}

#[tokio::test]
async fn accept_replay() {
    let lab = Lab::with_defect("accept-replay", &[]);
    let (old, new) = (self_custody(&lab).await, self_custody(&lab).await);
    let info = own_wallet(&lab, "mine").await;
    assert_eq!(send(&lab, old, "buyer-1", 1, &info).await.status, 200);
    assert_eq!(send(&lab, new, "buyer-1", 1, &info).await.status, 200);
}

#[tokio::test]
async fn accept_wrong_round() {
    let lab = Lab::with_defect("accept-wrong-round", &[]);
    let id = self_custody(&lab).await;
    let info = own_wallet(&lab, "mine").await;
    assert_eq!(send(&lab, id, "buyer-1", 3, &info).await.status, 200);
}

#[tokio::test]
async fn accept_other_party() {
    let lab = Lab::with_defect("accept-other-party", &[]);
    let id = self_custody(&lab).await;
    let path = format!("/api/escrows/{id}/multisig/advance");
    assert_eq!(lab.post("buyer-1", &path, json!({})).await.code(), "multisig_waiting");
    let progress = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
    let vendors = infos_of_others(&progress, 0)[0].clone();
    assert_eq!(send(&lab, id, "buyer-1", 1, &vendors).await.status, 200);
}

#[tokio::test]
async fn no_body_limit() {
    let lab = Lab::with_defect("no-body-limit", &[]);
    assert_eq!(lab.large_bodies(1).await, [400]);
}

/// How much memory ten large bodies cost at their worst and afterwards, in MiB.
async fn cost(lab: &Lab) -> (u64, u64) {
    lab.get("/api/listings").await;
    let before = lab.server.rss_kib();
    assert_eq!(lab.large_bodies(10).await, [413; 10]);
    let cost = |now: u64| now.saturating_sub(before) >> 10;
    (cost(lab.server.peak_kib()), cost(lab.server.rss_kib()))
}

#[tokio::test]
async fn read_body_first() {
    let (peak, _) = cost(&Lab::with_defect("read-body-first", &[])).await;
    assert!(peak > 30, "{peak} MiB");
    let (peak, _) = cost(&Lab::new(&[])).await;
    assert!(peak < 20, "the healthy service took {peak} MiB");
}

#[tokio::test]
async fn body_leak() {
    let (_, after) = cost(&Lab::with_defect("body-leak", &[])).await;
    assert!(after > 80, "{after} MiB");
}

#[tokio::test]
async fn crash_on_large_body() {
    let mut lab = Lab::with_defect("crash-on-large-body", &[]);
    assert_eq!(lab.large_bodies(1).await, [0]);
    assert!(lab.dies().await);
}

async fn heartbeat(lab: &Lab, user: &str) {
    let path = format!("/api/users/{user}/heartbeat");
    assert_eq!(lab.post(user, &path, json!({})).await.status, 200);
}

async fn status(lab: &Lab, user: &str) -> String {
    let user = lab.get(&format!("/api/users/{user}")).await.body;
    user["presence"]["status"].as_str().unwrap_or_default().to_owned()
}

/// A lab whose buyer was online and has been silent since; the vendor is online.
async fn silent_buyer(defect: &str) -> Lab {
    let lab = Lab::with_defect(defect, &["--presence-ms=300"]);
    lab.escrow("buyer-1", "funded").await;
    heartbeat(&lab, "buyer-1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    heartbeat(&lab, "vendor-1").await;
    lab
}

#[tokio::test]
async fn partition_hits_everyone() {
    let lab = silent_buyer("partition-hits-everyone").await;
    let ship = lab.post("vendor-1", "/api/escrows/1/ship", json!({})).await;
    assert_eq!(ship.status, 503);
}

#[tokio::test]
async fn stale_after_heal() {
    let lab = silent_buyer("stale-after-heal").await;
    heartbeat(&lab, "buyer-1").await;
    assert_eq!(status(&lab, "buyer-1").await, "offline");
    assert_eq!(status(&lab, "vendor-1").await, "online");
}

#[tokio::test]
async fn never_offline() {
    let lab = silent_buyer("never-offline").await;
    assert_eq!(status(&lab, "buyer-1").await, "online");
}

#[tokio::test]
async fn diverge_after_heal() {
    let lab = silent_buyer("diverge-after-heal").await;
    assert_eq!(lab.problems().await, [""; 0]);
    heartbeat(&lab, "buyer-1").await;
    assert_eq!(lab.problems().await, ["held_matches_state"]);
}
