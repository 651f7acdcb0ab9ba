//! A disk that fills up. Needs root, for a small filesystem of its own.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Lab, Process, disk::Disk};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_full_disk_makes_it_read_only_until_there_is_room() {
    // With and without the early warning: a write that fails must lead to the same.
    for reserve in ["--disk-reserve=1048576", "--disk-reserve=0"] {
        let disk = Disk::new();
        let data = disk.path().join("data");
        let log = format!("--log-file={}", disk.path().join("log.json").display());
        let folder = tempfile::tempdir().unwrap();
        let mut lab = Lab::in_folder(folder, Some(&data), &[reserve, &log]);
        let id = lab.escrow("buyer-1", "funded").await;
        disk.fill();
        let deposit =
            async || lab.post("buyer-1", "/api/users/buyer-1/deposit", json!({"amount": 1})).await;
        let refused = async || deposit().await.code() == "read_only";
        assert!(lab.eventually(SOON, refused).await);
        let answer = deposit().await;
        assert_eq!(answer.status, 503);
        assert!(answer.headers.contains_key("retry-after"));
        let health = lab.get("/healthz").await;
        assert_eq!((health.status, &health.body["degraded"]), (200, &json!(["read_only"])));
        assert_eq!(lab.state(id).await, "funded", "reading goes on");
        assert_eq!(lab.post("b", "/api/users/buyer-1/heartbeat", json!({})).await.status, 200);
        let metrics = lab.text("/metrics").await;
        assert!(metrics.contains("marketplace_read_only 1"));
        assert!(metrics.contains("marketplace_alert{name=\"disk\"} 1"));
        assert!(lab.server.logged("\"alert\":\"disk\"", 1).await > 0);

        disk.release();
        let works = async || deposit().await.status == 200;
        assert!(lab.eventually(SOON, works).await, "it does not recover");
        assert_eq!(lab.get("/readyz").await.status, 200);
        assert_eq!(lab.problems().await, [""; 0]);
        assert!(lab.server.terminate().success());
        let (ok, report) = Process::run(&["check", "--data", data.to_str().unwrap()]);
        assert!(ok, "{report}");
    }
}
