//! The catalogue with real wallets, as `cargo xtask run --wallet monero` runs it. Root.
//!
//! Only one scenario, because real wallets take their time: a participant sends crafted messages to
//! three wallets of monero-wallet-rpc, and afterwards they have to complete a 2-of-3 set-up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

const EXPERIMENT: &str = "byzantine";

#[derive(Deserialize)]
struct Changes {
    change: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    r#in: Vec<String>,
    from: String,
    to: String,
}

/// The experiment with the changes of `monero.toml`.
fn changed(root: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let changes: Changes = toml::from_str(&read("examples/marketplace/monero.toml")).unwrap();
    let mut text = read(&format!("experiments/{EXPERIMENT}.yaml"));
    for Change { r#in, from, to } in changes.change {
        if r#in.iter().any(|name| name == "all" || name == EXPERIMENT) {
            text = text.replace(&from, &to);
        }
    }
    let lab = root.join("examples/marketplace/lab-monero.yaml");
    text.replace("lab: LAB", &format!("lab: {}", lab.display()))
}

#[test]
fn real_wallets_survive_crafted_messages() {
    if !Path::new("/usr/bin/monero-wallet-rpc").is_file() {
        println!("CHAOS-SKIP real_wallets_survive_crafted_messages monero");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join(format!("{EXPERIMENT}.yaml"));
    std::fs::write(&file, changed(root)).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["run", "--json"])
        .arg(&file)
        .env("CHAOS_STATE_DIR", place.path().join("state"))
        .env_remove("SSH_CONNECTION")
        .env_remove("MARKETPLACE_DEFECTS")
        .current_dir(place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    assert_eq!(runs[0]["verdict"], "PASS", "{:#}", runs[0]);
    assert!(runs[0]["faults"][0]["evidence"][0]["acted"].as_u64().unwrap() > 100, "{runs:#}");
    let log = std::fs::read_dir(place.path().join("chaos-results"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap()
        .join("lab/log");
    for wallet in ["buyer", "vendor", "arbiter"] {
        let text =
            std::fs::read_to_string(log.join(format!("server.wallet-{wallet}.log"))).unwrap();
        assert!(text.contains("Starting wallet RPC server"), "{wallet} is not real: {text}");
    }
}
