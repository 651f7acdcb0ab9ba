//! The command lines.
#![expect(clippy::unwrap_used, reason = "a failure in a helper is a failed test")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Lab, Process};

fn client(server: &str, args: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_market-client"))
        .args(["--server", server, "--retries", "0"])
        .args(args)
        .output()
        .unwrap();
    let body = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_says_how_a_step_ended() {
    let mut lab = Lab::new(&[]);
    let server = lab.url("");
    let (code, trade) = client(&server, &["trade", "listing-2"]);
    assert_eq!(
        (code, &trade["ending"], &trade["body"]["state"]),
        (0, &json!("ok"), &json!("released"))
    );
    let (code, refused) = client(&server, &["--user", "vendor-2", "fund", "1"]);
    assert_eq!((code, &refused["ending"], &refused["status"]), (1, &json!("fail"), &json!(403)));
    let (code, checked) = client(&server, &["invariants"]);
    assert_eq!((code, &checked["body"]["ok"]), (0, &json!(true)));
    lab.control(0, json!({"delay_ms": 500})).await;
    client(&server, &["buy", "listing-1"]);
    let (code, slow) = client(&server, &["advance", "2"]);
    assert_eq!(code, 0);
    assert!(slow["notice"].as_str().unwrap().starts_with("slow network"));
    lab.control(0, json!({"delay_ms": 5000})).await;
    let (code, unknown) = client(&server, &["--timeout-ms", "300", "setup", "2"]);
    assert_eq!((code, &unknown["ending"]), (2, &json!("info")));
    lab.server.kill();
    let (code, dead) = client(&server, &["show", "1"]);
    assert_eq!((code, &dead["ending"], &dead["status"]), (1, &json!("fail"), &json!(0)));
    assert!(dead["notice"].as_str().unwrap().contains("did not answer"));
}

#[test]
fn the_defects_are_listed() {
    let (ok, list) = Process::run(&["defects", "--json"]);
    let list = list.as_array().unwrap();
    assert!(ok && list.len() >= 26);
    for scenario in [
        "network",
        "rpc",
        "pool",
        "restart",
        "disk",
        "byzantine",
        "disputes",
        "memory",
        "partition",
        "generals",
        "cascade",
    ] {
        let caught =
            |entry: &&Value| entry["caught_by"].as_array().unwrap().contains(&json!(scenario));
        assert!(list.iter().any(|entry| caught(&entry)), "{scenario}");
    }
    let unknown = ["--defect", "no-such", "--data", "/nonexistent"];
    assert!(!Process::run(&unknown).0);
    assert!(!Process::run(&["check", "--data", "/nonexistent"]).0);
}

#[tokio::test]
async fn one_wildcard_serves_both_protocols() {
    let lab = Lab::listening("[::]:0", &[]);
    let port = lab.server.address.port();
    for host in ["127.0.0.1", "[::1]"] {
        let answer = reqwest::get(format!("http://{host}:{port}/healthz")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{host}");
    }
}

#[test]
fn a_data_folder_serves_one_process() {
    let mut lab = Lab::new(&[]);
    let error = lab.try_second().unwrap_err();
    assert!(error.contains("in use by another process"), "{error}");
}
