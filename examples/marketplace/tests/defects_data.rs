//! Each defect really misbehaves: those that concern the database, its disk, and the money.
#![expect(clippy::unwrap_used, reason = "a failure in a helper is a failed test")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Answer, Lab, Process, disk::Disk};

/// The answers to `count` simultaneous deposits.
async fn deposits(lab: &Lab, count: usize) -> Vec<Option<Answer>> {
    let posts = (0..count).map(|n| {
        let path = format!("/api/users/buyer-{}/deposit", n + 1);
        async move { lab.try_post("buyer-1", &path, json!({"amount": 1})).await.ok() }
    });
    futures_util::future::join_all(posts).await
}

fn count(answers: &[Option<Answer>], code: &str) -> usize {
    answers.iter().flatten().filter(|answer| answer.code() == code).count()
}

#[tokio::test]
async fn pool_leak() {
    let lab = Lab::with_defect("pool-leak", &["--pool-timeout-ms=300"]);
    let mut lost = 0;
    for _ in 0..3 {
        lost = count(&deposits(&lab, 40).await, "pool_timeout");
    }
    assert_eq!(lost, 40);
    let metrics = lab.text("/metrics").await;
    assert!(metrics.contains("marketplace_pool_in_use 5"));
}

#[tokio::test]
async fn pool_deadlock() {
    let lab = Lab::with_defect("pool-deadlock", &["--pool-size=2", "--request-timeout-ms=1500"]);
    assert!(count(&deposits(&lab, 20).await, "deadline") > 0);
}

#[tokio::test]
async fn pool_no_queue() {
    let lab = Lab::with_defect("pool-no-queue", &["--pool-size=1"]);
    assert!(count(&deposits(&lab, 50).await, "broken") > 0);
}

#[tokio::test]
async fn exit_on_pool_timeout() {
    let mut lab = Lab::with_defect("exit-on-pool-timeout", &[]);
    deposits(&lab, 50).await;
    assert!(lab.dies().await);
}

#[tokio::test]
async fn request_leak() {
    let lab = Lab::with_defect("request-leak", &[]);
    lab.get("/api/listings").await;
    let before = lab.server.rss_kib();
    for _ in 0..300 {
        lab.get("/api/listings").await;
    }
    let grown = lab.server.rss_kib() - before;
    assert!(grown > 15 << 10, "grew by {grown} KiB");
}

#[tokio::test]
async fn memory_multisig() {
    let mut lab = Lab::with_defect("memory-multisig", &[]);
    let id = lab.buy("buyer-1").await;
    for _ in 0..2 {
        lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    }
    lab.server.kill();
    lab.restart();
    let progress = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
    assert_eq!((&progress["round"], &progress["messages"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn no_recovery() {
    for (defect, stuck) in [("no-recovery", true), ("no-slow-notice", false)] {
        let mut lab = Lab::with_defect(defect, &[]);
        let id = lab.escrow("buyer-1", "awaiting_funds").await;
        lab.control(0, json!({"delay_ms": 3000})).await;
        let path = format!("/api/escrows/{id}/fund");
        let post = lab.try_post("buyer-1", &path, json!({}));
        assert!(tokio::time::timeout(Duration::from_millis(500), post).await.is_err());
        lab.server.kill();
        lab.control(0, json!({})).await;
        lab.restart();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(lab.problems().await.contains(&"nothing_stuck".to_owned()), stuck, "{defect}");
    }
}

#[tokio::test]
async fn stale_lock() {
    let mut lab = Lab::with_defect("stale-lock", &[]);
    assert!(lab.server.terminate().success());
    lab.restart();
    lab.server.kill();
    let refused = lab.try_restart().unwrap_err();
    assert!(refused.contains("File exists"), "{refused}");
}

#[tokio::test]
async fn lost_writes() {
    let mut lab = Lab::with_defect("lost-writes", &[]);
    let id = lab.buy("buyer-1").await;
    lab.server.terminate();
    lab.restart();
    assert_eq!(lab.state(id).await, "created", "a clean shut-down saves");
    let id = lab.buy("buyer-1").await;
    lab.server.kill();
    lab.restart();
    assert_eq!(lab.get(&format!("/api/escrows/{id}")).await.status, 404);
}

/// A lab on a disk that has just become full, and the answer to a write.
async fn full(defect: &str, disk: &Disk) -> (Lab, Option<Answer>) {
    let flag = format!("--defect={defect}");
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::in_folder(folder, Some(&disk.path().join("data")), &[&flag]);
    lab.escrow("buyer-1", "funded").await;
    disk.fill();
    let mut answer = None;
    // The write-ahead log may have room for some more.
    for _ in 0..300 {
        let write =
            lab.try_post("buyer-1", "/api/users/buyer-1/deposit", json!({"amount": 1})).await;
        answer = write.ok();
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            break;
        }
    }
    (lab, answer)
}

#[tokio::test]
async fn corrupt_on_full_disk() {
    let disk = Disk::new();
    let (mut lab, answer) = full("corrupt-on-full-disk", &disk).await;
    assert_ne!(answer.map(|answer| answer.status), Some(200));
    lab.server.kill();
    disk.release();
    let data = disk.path().join("data");
    let (ok, report) = Process::run(&["check", "--data", data.to_str().unwrap()]);
    assert!(!ok, "{report}");
    assert_eq!(report["problems"][0]["invariant"], "database_intact");
}

#[tokio::test]
async fn crash_on_full_disk() {
    let disk = Disk::new();
    let (mut lab, answer) = full("crash-on-full-disk", &disk).await;
    assert!(answer.is_none());
    assert!(lab.dies().await);
}

#[tokio::test]
async fn no_read_only() {
    let disk = Disk::new();
    let (lab, answer) = full("no-read-only", &disk).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.code()), (500, "database"));
    assert_eq!(lab.get("/healthz").await.body["status"], "ok");
}

#[tokio::test]
async fn read_only_forever() {
    let disk = Disk::new();
    let (lab, answer) = full("read-only-forever", &disk).await;
    assert_eq!(answer.unwrap().code(), "read_only");
    disk.release();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(lab.get("/readyz").await.body["degraded"], json!(["read_only"]));
}

#[tokio::test]
async fn no_disk_alert() {
    let disk = Disk::new();
    let (lab, answer) = full("no-disk-alert", &disk).await;
    assert_eq!(answer.unwrap().code(), "read_only");
    assert_eq!(lab.get("/healthz").await.body["status"], "ok");
    assert!(!lab.server.log().contains("\"alert\":\"disk\""));
    assert!(lab.text("/metrics").await.contains("marketplace_read_only 0"));
}

/// The answers to five simultaneous resolutions of one dispute.
async fn five(lab: &Lab) -> Vec<Option<Answer>> {
    let id = lab.escrow("buyer-1", "disputed").await;
    let path = format!("/api/escrows/{id}/resolve");
    let tries = (0..5).map(|_| async {
        lab.try_post("arbiter-1", &path, json!({"outcome": "release"})).await.ok()
    });
    futures_util::future::join_all(tries).await
}

#[tokio::test]
async fn double_release() {
    let lab = Lab::with_defect("double-release", &[]);
    let answers = five(&lab).await;
    assert!(answers.iter().flatten().filter(|answer| answer.status == 200).count() > 1);
    let problems = lab.problems().await;
    assert!(problems.contains(&"paid_once".to_owned()), "{problems:?}");
    assert!(problems.contains(&"no_debts".to_owned()), "{problems:?}");
}

#[tokio::test]
async fn settle_deadlock() {
    let lab = Lab::with_defect("settle-deadlock", &["--request-timeout-ms=1500"]);
    assert_eq!(count(&five(&lab).await, "deadline"), 3);
}

#[tokio::test]
async fn settle_without_payout() {
    let lab = Lab::with_defect("settle-without-payout", &[]);
    let answers = five(&lab).await;
    assert_eq!(answers.iter().flatten().filter(|answer| answer.status == 200).count(), 1);
    let problems = lab.problems().await;
    assert!(problems.contains(&"payout_matches_state".to_owned()), "{problems:?}");
}
