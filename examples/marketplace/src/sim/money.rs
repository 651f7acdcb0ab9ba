//! Sending money: from one wallet, or signed by several.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    error::RpcError,
    wallet::{Sent, Wallet},
};
use crate::{
    multisig::{kex::keccak, rounds::hex},
    wallet::rpc_code as code,
};

type Result<T> = std::result::Result<T, RpcError>;

const EXPORT: &[u8] = b"Monero multisig export\x01";
const TX_SET: &[u8] = b"Monero multisig unsigned tx set\x01";
/// What every transaction costs, in piconero.
const FEE: u64 = 30_000_000;

/// One destination of a transfer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Destination {
    amount: u64,
    address: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TxSet {
    wallet: String,
    nonce: String,
    destinations: Vec<Destination>,
    signers: BTreeSet<[u8; 32]>,
}

impl TxSet {
    fn hash(&self) -> String {
        let unsigned = Self { signers: BTreeSet::new(), ..self.clone() };
        hex(keccak(&[&serde_json::to_vec(&unsigned).unwrap_or_default()]))
    }

    fn encode(&self) -> String {
        let mut bytes = TX_SET.to_vec();
        bytes.extend(serde_json::to_vec(self).unwrap_or_default());
        let sum = keccak(&[&bytes]);
        bytes.extend(&sum[..4]);
        hex(bytes)
    }

    fn decode(text: &str) -> Result<Self> {
        let bytes = unhex(text)?;
        let body = bytes.strip_prefix(TX_SET).ok_or_else(RpcError::bad_tx_data)?;
        let (json, sum) = body.split_last_chunk::<4>().ok_or_else(RpcError::bad_tx_data)?;
        if keccak(&[TX_SET, json])[..4] != sum[..] {
            return Err(RpcError::bad_tx_data());
        }
        serde_json::from_slice(json).map_err(|_| RpcError::bad_tx_data())
    }

    fn amount(&self) -> u64 {
        self.destinations.iter().fold(FEE, |sum, to| sum.saturating_add(to.amount))
    }
}

impl Wallet {
    /// Refuses unless the set-up of a multisig wallet is complete.
    fn ready(&self) -> Result<&super::wallet::Multisig> {
        let multisig = self.multisig.as_ref().ok_or_else(RpcError::not_multisig)?;
        if multisig.is_ready() { Ok(multisig) } else { Err(RpcError::not_finalized()) }
    }

    /// `export_multisig_info`.
    pub(super) fn export(&mut self) -> Result<String> {
        self.ready()?;
        let address = keccak(&[self.address().as_bytes()]);
        let mut bytes = EXPORT.to_vec();
        bytes.extend(self.signer());
        bytes.extend(address);
        bytes.extend(self.fresh().to_bytes());
        Ok(hex(bytes))
    }

    /// `import_multisig_info`; the number of outputs that can be spent now.
    pub(super) fn import(&mut self, infos: &[String]) -> Result<u64> {
        let threshold = self.ready()?.threshold;
        let failed = |why: &str| RpcError::unknown(format!("Error calling import_multisig: {why}"));
        if infos.len() + 1 < threshold as usize {
            let text = "Needs multisig export info from more participants";
            return Err(RpcError::new(code::THRESHOLD_NOT_REACHED, text));
        }
        let address = keccak(&[self.address().as_bytes()]);
        let own = self.signer();
        for info in infos {
            let bytes = unhex(info)?;
            let body = bytes.strip_prefix(EXPORT);
            let body = body.ok_or_else(|| failed("Bad multisig info file magic in "))?;
            let (signer, rest) =
                body.split_first_chunk::<32>().ok_or_else(|| failed("Bad data size"))?;
            if rest.len() != 64 || rest[..32] != address {
                return Err(failed("Failed to decrypt multisig info"));
            }
            let Some(multisig) = &mut self.multisig else { continue };
            if *signer == own || !multisig.signers.contains(signer) {
                return Err(failed("Signer is not a member of this multisig wallet"));
            }
            multisig.imported.insert(*signer);
        }
        Ok(1)
    }

    /// `transfer`.
    pub(super) fn transfer(&mut self, destinations: Vec<Destination>) -> Result<Value> {
        if destinations.is_empty() {
            return Err(RpcError::new(code::ZERO_DESTINATION, "Transaction has no destination"));
        }
        for to in &destinations {
            if base58_monero::decode_check(&to.address).is_err() {
                let text = format!("WALLET_RPC_ERROR_CODE_WRONG_ADDRESS: {}", to.address);
                return Err(RpcError::new(code::WRONG_ADDRESS, text));
            }
        }
        let own = self.signer();
        let nonce = hex(self.fresh().to_bytes());
        let mut set =
            TxSet { wallet: self.address(), nonce, destinations, signers: BTreeSet::new() };
        if set.amount() > self.balance {
            return Err(RpcError::new(code::NOT_ENOUGH_MONEY, "not enough money"));
        }
        let amount = set.amount() - FEE;
        let Some(multisig) = &self.multisig else {
            let hash = self.send(&set);
            return Ok(json!({
                "amount": amount, "fee": FEE, "multisig_txset": "", "tx_hash": hash,
                "tx_key": "", "unsigned_txset": "", "tx_blob": "", "tx_metadata": "",
            }));
        };
        if !multisig.is_ready() {
            return Err(RpcError::not_finalized());
        }
        if multisig.imported.len() + 1 < multisig.threshold as usize {
            return Err(RpcError::new(-4, "multisig info must be imported before a transfer"));
        }
        set.signers.insert(own);
        Ok(json!({
            "amount": amount, "fee": FEE, "multisig_txset": set.encode(), "tx_hash": "",
            "tx_key": "", "unsigned_txset": "", "tx_blob": "", "tx_metadata": "",
        }))
    }

    /// `sign_multisig`.
    pub(super) fn sign(&mut self, text: &str) -> Result<Value> {
        let threshold = self.ready()?.threshold as usize;
        let mut set = TxSet::decode(text)?;
        if set.wallet != self.address() {
            let text = "Failed to sign multisig tx: it belongs to another wallet";
            return Err(RpcError::new(code::MULTISIG_SIGNATURE, text));
        }
        set.signers.insert(self.signer());
        let hashes = if set.signers.len() >= threshold { vec![set.hash()] } else { vec![] };
        Ok(json!({"tx_data_hex": set.encode(), "tx_hash_list": hashes}))
    }

    /// `submit_multisig`.
    pub(super) fn submit(&mut self, text: &str) -> Result<Value> {
        let threshold = self.ready()?.threshold as usize;
        let set = TxSet::decode(text)?;
        if set.signers.len() < threshold {
            let text = "Not enough signers signed this transaction.";
            return Err(RpcError::new(code::THRESHOLD_NOT_REACHED, text));
        }
        let refused = |why| RpcError::new(code::MULTISIG_SUBMISSION, why);
        if set.wallet != self.address() || set.amount() > self.balance {
            return Err(refused("transaction was rejected by daemon: invalid input"));
        }
        if self.sent.iter().any(|sent| sent.txid == set.hash()) {
            return Err(refused("transaction was rejected by daemon: double spend"));
        }
        Ok(json!({"tx_hash_list": [self.send(&set)]}))
    }

    fn send(&mut self, set: &TxSet) -> String {
        self.balance = self.balance.saturating_sub(set.amount());
        let address = set.destinations.first().map(|to| to.address.clone()).unwrap_or_default();
        let (txid, amount, at) = (set.hash(), set.amount() - FEE, crate::now_ms());
        self.sent.push(Sent { txid: txid.clone(), amount, address, at });
        txid
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(RpcError::bad_hex());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(RpcError::bad_hex);
    let byte = |pair: &[u8]| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    digits.chunks_exact(2).map(byte).collect()
}
