//! A participant who keeps their own wallet, and may be malicious.

mod support;

use serde_json::json;
use support::{
    Lab,
    custody::{infos_of_others, own_wallet, self_custody, send, wallet},
};

#[tokio::test]
async fn an_honest_participant_can_keep_their_own_wallet() {
    let lab = Lab::new(&[]);
    let id = self_custody(&lab).await;
    let first = own_wallet(&lab, "mine").await;
    assert_eq!(send(&lab, id, "buyer-1", 1, &first).await.status, 200);
    assert_eq!(send(&lab, id, "buyer-1", 1, &first).await.status, 200, "sending twice is harmless");
    let mut last = json!({});
    for (step, method) in
        ["make_multisig", "exchange_multisig_keys", "exchange_multisig_keys"].iter().enumerate()
    {
        lab.step("buyer-1", id, "multisig/advance", json!({})).await;
        let progress = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
        let infos = infos_of_others(&progress, step as u64);
        assert_eq!(infos.len(), 2, "{progress}");
        last = wallet(&lab, 0, method, json!({"multisig_info": infos, "threshold": 2})).await;
        if step < 2 {
            let info = last["multisig_info"].as_str().unwrap();
            let sent = send(&lab, id, "buyer-1", step as u8 + 2, info).await;
            assert_eq!(sent.status, 200, "{sent:?}");
        }
    }
    let waiting =
        lab.post("buyer-1", &format!("/api/escrows/{id}/multisig/advance"), json!({})).await;
    assert_eq!((waiting.status, waiting.code()), (409, "multisig_waiting"));
    let address = last["address"].as_str().unwrap();
    assert_eq!(send(&lab, id, "buyer-1", 4, address).await.status, 200);
    lab.step("buyer-1", id, "multisig/advance", json!({})).await;
    let escrow = lab.get(&format!("/api/escrows/{id}")).await.body;
    assert_eq!(
        (&escrow["state"], &escrow["address"]),
        (&json!("awaiting_funds"), &last["address"])
    );
    // The other two sign the payout.
    lab.step("buyer-1", id, "fund", json!({})).await;
    lab.step("vendor-1", id, "ship", json!({})).await;
    lab.step("buyer-1", id, "release", json!({})).await;
    assert_eq!(lab.problems().await, [""; 0]);
}

#[tokio::test]
async fn crafted_info_changes_nothing_and_is_logged() {
    let lab = Lab::new(&[]);
    let old = self_custody(&lab).await;
    let used = own_wallet(&lab, "old").await;
    assert_eq!(send(&lab, old, "buyer-1", 1, &used).await.status, 200);

    let id = self_custody(&lab).await;
    let good = own_wallet(&lab, "new").await;
    let other = own_wallet(&lab, "other").await;
    // The vendor's wallet has spoken; the buyer's has not.
    let waiting =
        lab.post("buyer-1", &format!("/api/escrows/{id}/multisig/advance"), json!({})).await;
    assert_eq!(waiting.code(), "multisig_waiting");
    let before = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
    let vendors = infos_of_others(&before, 0)[0].clone();

    let mut flipped = good.clone();
    let last = if flipped.ends_with('1') { '2' } else { '1' };
    flipped.pop();
    flipped.push(last);
    let cases: Vec<(&str, u8, String, &str)> = vec![
        ("buyer-1", 1, "INVALID@#$%".into(), "multisig_malformed"),
        ("buyer-1", 1, String::new(), "multisig_malformed"),
        ("buyer-1", 1, good[..60].into(), "multisig_malformed"),
        ("buyer-1", 1, format!("{good}{good}"), "multisig_malformed"),
        ("buyer-1", 1, "\u{0}\u{202e}é".repeat(40), "multisig_malformed"),
        ("buyer-1", 1, "M".repeat(30_000), "multisig_malformed"),
        ("buyer-1", 1, flipped, "multisig_malformed"),
        ("buyer-1", 2, good.clone(), "wrong_round"),
        ("buyer-1", 0, good.clone(), "wrong_round"),
        ("buyer-1", 255, good.clone(), "wrong_round"),
        ("buyer-1", 4, "44address".into(), "wrong_round"),
        ("buyer-1", 1, used, "replay"),
        ("buyer-1", 1, vendors, "other_party"),
        ("vendor-1", 1, other.clone(), "managed"),
        ("buyer-2", 1, good.clone(), "forbidden"),
    ];
    for (user, round, info, code) in cases {
        let refused = send(&lab, id, user, round, &info).await;
        assert_eq!(refused.code(), code, "round {round}, {info:.40}: {refused:?}");
        assert!((400..500).contains(&refused.status));
        let now = lab.get(&format!("/api/escrows/{id}/multisig")).await.body;
        assert_eq!(now, before, "after {code}");
    }
    let path = format!("/api/escrows/{id}/multisig/info");
    let body = json!({"round": 1, "info": good, "participant": "vendor"});
    assert_eq!(lab.post("buyer-1", &path, body).await.code(), "other_party");
    assert_eq!(lab.server.logged("multisig info rejected", 16).await, 16);
    assert!(
        lab.text("/metrics")
            .await
            .contains("marketplace_multisig_rejected_total{reason=\"replay\"} 1")
    );

    assert_eq!(send(&lab, id, "buyer-1", 1, &good).await.status, 200);
    assert_eq!(send(&lab, id, "buyer-1", 1, &other).await.code(), "already_sent");
}
