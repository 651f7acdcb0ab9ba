//! A wallet as it is kept in its file.

use std::collections::BTreeSet;

use curve25519_dalek::scalar::Scalar;
use serde::{Deserialize, Serialize};

use crate::multisig::kex::{keccak, public_key};

/// Network byte of mainnet addresses.
const MAINNET: u8 = 18;

/// A wallet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wallet {
    pub(super) password: String,
    /// Everything secret is derived from this.
    pub(super) root: [u8; 32],
    /// Counts what must be fresh.
    pub(super) counter: u64,
    pub(super) multisig: Option<Multisig>,
    /// In piconero.
    pub(super) balance: u64,
    pub(super) sent: Vec<Sent>,
}

/// The multisig part of a wallet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Multisig {
    pub(super) threshold: u32,
    /// All participants' signing keys.
    pub(super) signers: BTreeSet<[u8; 32]>,
    /// What all first-round messages have in common.
    pub(super) common: [u8; 32],
    /// The key-exchange round whose messages are awaited; 4 when the set-up is complete.
    pub(super) round: u8,
    /// Whose outputs were imported since the last transaction.
    pub(super) imported: BTreeSet<[u8; 32]>,
}

impl Multisig {
    pub(super) fn total(&self) -> u32 {
        self.signers.len() as u32
    }

    pub(super) fn is_ready(&self) -> bool {
        self.round > 3
    }
}

/// A transaction that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) txid: String,
    pub(super) amount: u64,
    pub(super) address: String,
    pub(super) at: i64,
}

impl Wallet {
    pub(super) fn new(seed: u64, file: &str, password: &str, balance: u64) -> Self {
        let root = keccak(&[b"wallet", &seed.to_le_bytes(), file.as_bytes()]);
        let password = password.to_owned();
        Self { password, root, counter: 0, multisig: None, balance, sent: Vec::new() }
    }

    fn secret(&self, what: &[u8]) -> Scalar {
        Scalar::from_bytes_mod_order(keccak(&[what, &self.root]))
    }

    /// The key that signs key-exchange messages.
    pub(super) fn signing_key(&self) -> Scalar {
        self.secret(b"sign")
    }

    /// Its public key, which identifies the wallet.
    pub(super) fn signer(&self) -> [u8; 32] {
        public_key(&self.signing_key())
    }

    /// The secret that the first-round message shares.
    pub(super) fn shared_secret(&self) -> [u8; 32] {
        self.secret(b"share").to_bytes()
    }

    /// A value that is never given twice.
    pub(super) fn fresh(&mut self) -> Scalar {
        self.counter += 1;
        let counter = self.counter.to_le_bytes();
        Scalar::from_bytes_mod_order(keccak(&[b"fresh", &self.root, &counter]))
    }

    /// The primary address.
    pub(super) fn address(&self) -> String {
        match &self.multisig {
            None => address(&self.root),
            Some(multisig) if multisig.round < 3 => address(&multisig.common),
            Some(multisig) => address(&final_keys(multisig)[0]),
        }
    }
}

/// The keys that all participants must arrive at.
pub(super) fn final_keys(multisig: &Multisig) -> Vec<[u8; 32]> {
    let signers: Vec<&[u8]> = multisig.signers.iter().map(<[u8; 32]>::as_slice).collect();
    let all = keccak(&signers);
    let key = |what: &[u8]| {
        let threshold = multisig.threshold.to_le_bytes();
        let secret = keccak(&[what, &all, &multisig.common, &threshold]);
        public_key(&Scalar::from_bytes_mod_order(secret))
    };
    vec![key(b"spend"), key(b"common")]
}

fn address(from: &[u8; 32]) -> String {
    let key = |what: &[u8]| public_key(&Scalar::from_bytes_mod_order(keccak(&[what, from])));
    let mut bytes = vec![MAINNET];
    bytes.extend(key(b"spend"));
    bytes.extend(key(b"view"));
    base58_monero::encode_check(&bytes).unwrap_or_default()
}
