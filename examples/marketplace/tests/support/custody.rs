//! A participant who keeps their own wallet.

use serde_json::{Value, json};

use super::{Answer, Lab};

/// Calls a wallet directly, as its owner.
pub(crate) async fn wallet(lab: &Lab, at: usize, method: &str, params: Value) -> Value {
    let url = format!("http://{}/json_rpc", lab.wallets[at].address);
    let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer.get("error"), None, "{method}");
    answer["result"].clone()
}

pub(crate) async fn own_wallet(lab: &Lab, name: &str) -> String {
    let file = json!({"filename": name, "password": "", "language": "English"});
    wallet(lab, 0, "create_wallet", file).await;
    let info = wallet(lab, 0, "prepare_multisig", json!({})).await;
    info["multisig_info"].as_str().unwrap().to_owned()
}

pub(crate) async fn self_custody(lab: &Lab) -> i64 {
    let new = json!({"listing_id": "listing-1", "self_custody": ["buyer"]});
    let made = lab.post("buyer-1", "/api/escrows", new).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["id"].as_i64().unwrap()
}

pub(crate) async fn send(lab: &Lab, id: i64, user: &str, round: u8, info: &str) -> Answer {
    let path = format!("/api/escrows/{id}/multisig/info");
    lab.post(user, &path, json!({"round": round, "info": info})).await
}

pub(crate) fn infos_of_others(progress: &Value, step: u64) -> Vec<String> {
    let messages = progress["messages"].as_array().unwrap().iter();
    let others = messages.filter(|m| m["step"] == step && m["participant"] != "buyer");
    others.map(|message| message["info"].as_str().unwrap().to_owned()).collect()
}
