//! The methods of the JSON-RPC interface.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{control::Control, error::RpcError, files::Files, money::Destination, wallet::Wallet};
use crate::wallet::rpc_code as code;

type Result<T> = std::result::Result<T, RpcError>;

/// The version that monero-wallet-rpc 0.18 reports (1.25).
const VERSION: u32 = 0x0001_0019;

/// A wallet service: a folder of wallets, one of which may be open.
#[derive(Debug)]
pub struct Sim {
    files: Files,
    seed: u64,
    balance: u64,
    open: Option<(String, Wallet)>,
    /// How it misbehaves.
    pub control: Control,
    /// How many answers were not true so far.
    pub lies: u64,
}

/// The parameters of all methods; each takes what it knows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Params {
    filename: String,
    password: String,
    language: String,
    multisig_info: Vec<String>,
    threshold: u32,
    info: Vec<String>,
    tx_data_hex: String,
    destinations: Vec<Destination>,
    out: bool,
}

impl Sim {
    /// A service. Every wallet starts with `balance` piconero.
    #[must_use]
    pub fn new(files: Files, seed: u64, balance: u64) -> Self {
        Self { files, seed, balance, open: None, control: Control::default(), lies: 0 }
    }

    /// Answers one call.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let params = if params.is_null() { json!({}) } else { params };
        let params: Params =
            serde_json::from_value(params).map_err(|_| RpcError::new(-32602, "Invalid params"))?;
        let mut answer = self.dispatch(method, params)?;
        if self.control.distort(&mut answer) {
            self.lies += 1;
        }
        Ok(answer)
    }

    fn dispatch(&mut self, method: &str, params: Params) -> Result<Value> {
        match method {
            "get_version" => Ok(json!({"release": true, "version": VERSION})),
            "create_wallet" => self.create(&params),
            "open_wallet" => self.open(&params),
            "close_wallet" => self.open.take().map(|_| json!({})).ok_or_else(RpcError::not_open),
            "get_address" | "getaddress" => {
                let address = self.wallet()?.address();
                let primary = json!({"address": address, "address_index": 0,
                    "label": "Primary account", "used": false});
                Ok(json!({"address": address, "addresses": [primary]}))
            }
            "get_balance" | "getbalance" => self.balance(),
            "is_multisig" => self.is_multisig(),
            "prepare_multisig" => {
                self.change(|wallet| Ok(json!({"multisig_info": wallet.prepare()?})))
            }
            "make_multisig" => self.change(|wallet| {
                let info = wallet.make(&params.multisig_info, params.threshold)?;
                Ok(json!({"address": wallet.address(), "multisig_info": info}))
            }),
            "exchange_multisig_keys" => self.change(|wallet| {
                let (address, info) = wallet.exchange(&params.multisig_info)?;
                Ok(json!({"address": address, "multisig_info": info}))
            }),
            "export_multisig_info" => self.change(|wallet| Ok(json!({"info": wallet.export()?}))),
            "import_multisig_info" => {
                self.change(|wallet| Ok(json!({"n_outputs": wallet.import(&params.info)?})))
            }
            "transfer" => self.change(|wallet| wallet.transfer(params.destinations)),
            "sign_multisig" => self.change(|wallet| wallet.sign(&params.tx_data_hex)),
            "submit_multisig" => self.change(|wallet| wallet.submit(&params.tx_data_hex)),
            "get_transfers" => self.transfers(params.out),
            "get_height" | "getheight" => self.wallet().map(|_| json!({"height": 1})),
            "refresh" => {
                self.wallet().map(|_| json!({"blocks_fetched": 0, "received_money": false}))
            }
            "store" => self.wallet().map(|_| json!({})),
            _ => Err(RpcError::method_not_found()),
        }
    }

    fn wallet(&self) -> Result<&Wallet> {
        self.open.as_ref().map(|(_, wallet)| wallet).ok_or_else(RpcError::not_open)
    }

    /// Changes the open wallet. It is as it was if the change fails or cannot be saved.
    fn change(&mut self, work: impl FnOnce(&mut Wallet) -> Result<Value>) -> Result<Value> {
        let (name, wallet) = self.open.as_mut().ok_or_else(RpcError::not_open)?;
        let mut changed = wallet.clone();
        let answer = work(&mut changed)?;
        self.files.save(name, &changed)?;
        *wallet = changed;
        Ok(answer)
    }

    fn create(&mut self, params: &Params) -> Result<Value> {
        check_name(&params.filename)?;
        if params.language != "English" {
            return Err(RpcError::unknown(format!("Unknown language: {}", params.language)));
        }
        if self.files.exists(&params.filename) {
            let text = "Cannot create wallet. Already exists.";
            return Err(RpcError::new(code::WALLET_ALREADY_EXISTS, text));
        }
        let wallet = Wallet::new(self.seed, &params.filename, &params.password, self.balance);
        self.files.save(&params.filename, &wallet)?;
        self.open = Some((params.filename.clone(), wallet));
        Ok(json!({}))
    }

    fn open(&mut self, params: &Params) -> Result<Value> {
        check_name(&params.filename)?;
        let failed = || RpcError::unknown("Failed to open wallet");
        let wallet = self.files.load(&params.filename).map_err(|_| failed())?;
        if wallet.password != params.password {
            return Err(failed());
        }
        self.open = Some((params.filename.clone(), wallet));
        Ok(json!({}))
    }

    fn balance(&self) -> Result<Value> {
        let wallet = self.wallet()?;
        let needed = wallet.multisig.as_ref().is_some_and(|multisig| {
            multisig.is_ready() && multisig.imported.len() + 1 < multisig.threshold as usize
        });
        Ok(json!({
            "balance": wallet.balance, "unlocked_balance": wallet.balance,
            "blocks_to_unlock": 0, "time_to_unlock": 0, "multisig_import_needed": needed,
        }))
    }

    fn is_multisig(&self) -> Result<Value> {
        let multisig = self.wallet()?.multisig.as_ref();
        Ok(json!({
            "multisig": multisig.is_some(),
            "ready": multisig.is_some_and(super::wallet::Multisig::is_ready),
            "threshold": multisig.map_or(0, |multisig| multisig.threshold),
            "total": multisig.map_or(0, super::wallet::Multisig::total),
        }))
    }

    fn transfers(&self, out: bool) -> Result<Value> {
        let wallet = self.wallet()?;
        let sent = wallet.sent.iter().map(|sent| {
            json!({"txid": sent.txid, "amount": sent.amount, "type": "out", "height": 1,
                "timestamp": sent.at / 1000, "confirmations": 10,
                "destinations": [{"amount": sent.amount, "address": sent.address}]})
        });
        let sent: Vec<_> = sent.collect();
        Ok(if out && !sent.is_empty() { json!({"out": sent}) } else { json!({}) })
    }
}

fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty() && name.len() < 200 && !name.contains(['/', '\\', '\0']);
    if good { Ok(()) } else { Err(RpcError::unknown("Invalid filename")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sim(folder: &std::path::Path) -> Sim {
        Sim::new(Files::new(folder.to_owned()).unwrap(), 7, 1_000_000_000_000)
    }

    fn file(name: &str) -> Value {
        json!({"filename": name, "password": "", "language": "English"})
    }

    #[test]
    fn refusals_have_the_real_codes_and_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut sim = sim(folder.path());
        let mut refused = |method: &str, params: Value| {
            let error = sim.call(method, params).unwrap_err();
            (error.code, error.message)
        };
        let is = |code, message: &str| (code, message.to_owned());
        assert_eq!(refused("nope", json!({})), is(-32601, "Method not found"));
        assert_eq!(refused("get_address", json!({})), is(-13, "No wallet file"));
        assert_eq!(refused("close_wallet", json!({})), is(-13, "No wallet file"));
        assert_eq!(refused("open_wallet", file("x")), is(-1, "Failed to open wallet"));
        assert_eq!(refused("create_wallet", file("../x")), is(-1, "Invalid filename"));
        let klingon = json!({"filename": "k", "language": "Klingon"});
        assert_eq!(refused("create_wallet", klingon), is(-1, "Unknown language: Klingon"));
        sim.call("create_wallet", file("w")).unwrap();
        let mut refused = |method: &str, params: Value| {
            let error = sim.call(method, params).unwrap_err();
            (error.code, error.message)
        };
        let exists = "Cannot create wallet. Already exists.";
        assert_eq!(refused("create_wallet", file("w")), is(-21, exists));
        let not = "This wallet is not multisig";
        assert_eq!(refused("export_multisig_info", json!({})), is(-31, not));
        let bad = json!({"destinations": [{"amount": 1, "address": "zzz"}]});
        let words = "WALLET_RPC_ERROR_CODE_WRONG_ADDRESS: zzz";
        assert_eq!(refused("transfer", bad), is(-2, words));
        let none = json!({"destinations": []});
        assert_eq!(refused("transfer", none), is(-20, "Transaction has no destination"));
    }

    #[test]
    fn wallets_survive_a_restart_and_depend_on_the_seed_only() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut first = sim(folder.path());
        first.call("create_wallet", file("w")).unwrap();
        let address = first.call("get_address", json!({})).unwrap();
        let info = first.call("prepare_multisig", json!({})).unwrap();
        drop(first);
        let mut again = sim(folder.path());
        again.call("open_wallet", file("w")).unwrap();
        assert_eq!(again.call("get_address", json!({})).unwrap(), address);
        let mut twin = sim(other.path());
        twin.call("create_wallet", file("w")).unwrap();
        assert_eq!(twin.call("prepare_multisig", json!({})).unwrap(), info);
        assert_ne!(again.call("prepare_multisig", json!({})).unwrap(), info);
    }

    #[test]
    fn two_of_three_sign_and_a_replay_is_refused() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut sims: Vec<_> = folders.iter().map(|folder| sim(folder.path())).collect();
        let mut infos: Vec<Value> = vec![json!([]); 3];
        for method in ["", "prepare_multisig", "make_multisig", "exchange_multisig_keys", "-"] {
            let mut next = Vec::new();
            for (at, sim) in sims.iter_mut().enumerate() {
                let others: Vec<_> = (0..3).filter(|o| *o != at).map(|o| &infos[o]).collect();
                let answer = match method {
                    "" => sim.call("create_wallet", file(&format!("w{at}"))).unwrap(),
                    "prepare_multisig" => sim.call(method, json!({})).unwrap(),
                    "-" => sim
                        .call("exchange_multisig_keys", json!({"multisig_info": others}))
                        .unwrap(),
                    _ => {
                        sim.call(method, json!({"multisig_info": others, "threshold": 2})).unwrap()
                    }
                };
                next.push(answer.get("multisig_info").cloned().unwrap_or_default());
            }
            infos = next;
        }
        let exports: Vec<_> =
            sims.iter_mut().map(|s| s.call("export_multisig_info", json!({})).unwrap()).collect();
        let to = sims[2].call("get_address", json!({})).unwrap()["address"].clone();
        let pay = json!({"destinations": [{"amount": 5, "address": to}]});
        assert_eq!(sims[0].call("transfer", pay.clone()).unwrap_err().code, -4);
        sims[0].call("import_multisig_info", json!({"info": [exports[1]["info"]]})).unwrap();
        let own = json!({"info": [exports[0]["info"]]});
        assert!(sims[0].call("import_multisig_info", own).is_err());
        let unsigned = sims[0].call("transfer", pay).unwrap()["multisig_txset"].clone();
        let one = sims[0].call("submit_multisig", json!({"tx_data_hex": unsigned})).unwrap_err();
        assert_eq!(one.code, -33);
        let signed = sims[1].call("sign_multisig", json!({"tx_data_hex": unsigned})).unwrap();
        let submit = json!({"tx_data_hex": signed["tx_data_hex"]});
        let sent = sims[1].call("submit_multisig", submit.clone()).unwrap();
        assert_eq!(sent["tx_hash_list"], signed["tx_hash_list"]);
        assert_eq!(sims[1].call("submit_multisig", submit).unwrap_err().code, -36);
        let transfers = sims[1].call("get_transfers", json!({"out": true})).unwrap();
        assert_eq!(transfers["out"][0]["txid"], sent["tx_hash_list"][0]);
        for bad in ["zz", "00ff", "0"] {
            assert!(sims[1].call("sign_multisig", json!({"tx_data_hex": bad})).is_err());
        }
    }
}
