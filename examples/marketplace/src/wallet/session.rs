//! A wallet file, open in its service. A service has one wallet open at a time, so its users queue.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::{Role, Rpc, WalletError, rpc_code};

type Result<T> = std::result::Result<T, WalletError>;

/// How long a request waits for its turn with a wallet, at least…
const TURN: Duration = Duration::from_secs(20);

/// …and how many calls of others it waits for.
const CALLS: u32 = 3;

/// One participant's wallet service.
#[derive(Debug)]
pub struct Wallet {
    /// Whose.
    pub role: Role,
    /// The client.
    pub rpc: Rpc,
    open: Mutex<Option<String>>,
}

/// The wallet services of all participants.
#[derive(Debug)]
pub struct Wallets {
    buyer: Wallet,
    vendor: Wallet,
    arbiter: Wallet,
}

impl Wallets {
    /// One service per role; `client` makes its client.
    pub fn new<E>(
        mut client: impl FnMut(Role) -> std::result::Result<Rpc, E>,
    ) -> std::result::Result<Self, E> {
        let mut wallet = |role| Ok(Wallet { role, rpc: client(role)?, open: Mutex::new(None) });
        Ok(Self {
            buyer: wallet(Role::Buyer)?,
            vendor: wallet(Role::Vendor)?,
            arbiter: wallet(Role::Arbiter)?,
        })
    }

    /// The service of one participant.
    pub fn of(&self, role: Role) -> &Wallet {
        match role {
            Role::Buyer => &self.buyer,
            Role::Vendor => &self.vendor,
            Role::Arbiter => &self.arbiter,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Wallet> {
        Role::ALL.into_iter().map(|role| self.of(role))
    }
}

/// The answer to a step of the key exchange.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Step {
    /// The wallet's address, once it has one.
    #[serde(default)]
    pub address: String,
    /// The message for the other participants.
    #[serde(default)]
    pub multisig_info: String,
}

/// The answer to `is_multisig`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MultisigState {
    /// Whether it is a multisig wallet.
    pub multisig: bool,
    /// Whether its set-up is complete.
    pub ready: bool,
    /// Signatures needed.
    pub threshold: u32,
    /// Participants.
    pub total: u32,
}

/// A wallet that is open for one user.
#[derive(Debug)]
pub struct Session<'a> {
    wallet: &'a Wallet,
    open: MutexGuard<'a, Option<String>>,
    file: String,
}

impl Wallet {
    /// Whether a request is using it.
    pub fn is_busy(&self) -> bool {
        self.open.try_lock().is_err()
    }

    /// Opens `file`; with `create` a missing one is made.
    pub async fn session(&self, file: &str, create: bool) -> Result<Session<'_>> {
        let patience = TURN.max(self.rpc.timeout() * CALLS);
        let turn = tokio::time::timeout(patience, self.open.lock()).await;
        let open = turn.map_err(|_| WalletError::Busy { role: self.role })?;
        let mut session = Session { wallet: self, open, file: file.to_owned() };
        if session.open.as_deref() != Some(file) {
            session.open(create).await?;
        }
        Ok(session)
    }
}

impl Session<'_> {
    async fn open(&mut self, create: bool) -> Result<()> {
        *self.open = None;
        let params = json!({"filename": self.file, "password": ""});
        match self.wallet.rpc.call("open_wallet", params, true).await {
            Err(WalletError::Refused { code: rpc_code::UNKNOWN_ERROR, .. }) if create => {
                let params = json!({"filename": self.file, "password": "", "language": "English"});
                self.wallet.rpc.call("create_wallet", params, false).await?;
            }
            other => drop(other?),
        }
        *self.open = Some(self.file.clone());
        Ok(())
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &mut self,
        method: &'static str,
        params: Value,
        repeatable: bool,
    ) -> Result<T> {
        let mut result = self.wallet.rpc.call(method, params.clone(), repeatable).await;
        if let Err(WalletError::Refused { code: rpc_code::NOT_OPEN, .. }) = result {
            // The service was restarted, or somebody else closed the wallet. Nothing was done.
            self.open(false).await?;
            result = self.wallet.rpc.call(method, params, repeatable).await;
        }
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            *self.open = None;
        }
        let unusable =
            WalletError::Malformed { role: self.wallet.role, method, what: "a field is missing" };
        serde_json::from_value(result?).map_err(|_| unusable)
    }

    /// `get_address`: the primary address.
    pub async fn address(&mut self) -> Result<String> {
        let answer: Address = self.call("get_address", json!({"account_index": 0}), true).await?;
        Ok(answer.address)
    }

    /// `is_multisig`.
    pub async fn multisig_state(&mut self) -> Result<MultisigState> {
        self.call("is_multisig", json!({}), true).await
    }

    /// The key-exchange step that follows `round` (0 is the start). `infos` are the other
    /// participants' messages.
    pub async fn exchange(&mut self, round: u8, infos: &[String]) -> Result<Step> {
        let params = json!({"multisig_info": infos, "threshold": 2, "password": ""});
        match round {
            0 => self.prepare().await,
            1 => {
                // A wallet that was closed since has forgotten that it may do this, and a 2-of-3
                // wallet made so could never go on. To prepare it again reminds it.
                self.prepare().await?;
                self.call("make_multisig", params, false).await
            }
            _ => {
                let params = json!({"multisig_info": infos, "password": ""});
                self.call("exchange_multisig_keys", params, false).await
            }
        }
    }

    async fn prepare(&mut self) -> Result<Step> {
        let params = json!({"enable_multisig_experimental": true});
        self.call("prepare_multisig", params, true).await
    }

    /// `export_multisig_info`.
    pub async fn export(&mut self) -> Result<String> {
        let answer: Export = self.call("export_multisig_info", json!({}), true).await?;
        Ok(answer.info)
    }

    /// `import_multisig_info`.
    pub async fn import(&mut self, info: &str) -> Result<()> {
        self.call::<Value>("import_multisig_info", json!({"info": [info]}), true).await?;
        Ok(())
    }

    /// `transfer`: an unsigned multisig transaction.
    pub async fn transfer(&mut self, to: &str, amount: i64) -> Result<String> {
        let params = json!({"destinations": [{"amount": amount, "address": to}]});
        let answer: Transfer = self.call("transfer", params, true).await?;
        Ok(answer.multisig_txset)
    }

    /// `sign_multisig`: the signed transaction and its hash.
    pub async fn sign(&mut self, txset: &str) -> Result<(String, String)> {
        let answer: Signed =
            self.call("sign_multisig", json!({"tx_data_hex": txset}), true).await?;
        let [hash] = answer.tx_hash_list.as_slice() else {
            return Err(self.malformed("sign_multisig"));
        };
        Ok((answer.tx_data_hex, hash.clone()))
    }

    /// `submit_multisig`: hands the transaction to the network.
    pub async fn submit(&mut self, signed: &str) -> Result<String> {
        let params = json!({"tx_data_hex": signed});
        let answer: Submitted = self.call("submit_multisig", params, false).await?;
        let [hash] = answer.tx_hash_list.as_slice() else {
            return Err(self.malformed("submit_multisig"));
        };
        Ok(hash.clone())
    }

    /// Whether the wallet has sent the transaction `hash`.
    pub async fn has_sent(&mut self, hash: &str) -> Result<bool> {
        let params = json!({"out": true, "pending": true, "pool": true});
        let answer: Transfers = self.call("get_transfers", params, true).await?;
        Ok(answer.out.iter().chain(&answer.pending).any(|transfer| transfer.txid == hash))
    }

    fn malformed(&self, method: &'static str) -> WalletError {
        WalletError::Malformed { role: self.wallet.role, method, what: "not one transaction" }
    }
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

#[derive(Deserialize)]
struct Export {
    info: String,
}

#[derive(Deserialize)]
struct Transfer {
    multisig_txset: String,
}

#[derive(Deserialize)]
struct Signed {
    tx_data_hex: String,
    tx_hash_list: Vec<String>,
}

#[derive(Deserialize)]
struct Submitted {
    tx_hash_list: Vec<String>,
}

#[derive(Deserialize)]
struct Transfers {
    #[serde(default)]
    out: Vec<Sent>,
    #[serde(default)]
    pending: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    txid: String,
}
