//! The key exchange, as one wallet sees it.

use std::collections::BTreeSet;

use curve25519_dalek::scalar::Scalar;

use super::{
    error::RpcError,
    wallet::{Multisig, Wallet, final_keys},
};
use crate::{
    multisig::kex::{KexError, KexMessage, MAGIC_FIRST, keccak, public_key},
    wallet::rpc_code as code,
};

type Result<T> = std::result::Result<T, RpcError>;

impl Wallet {
    /// `prepare_multisig`: the first-round message. It differs each time, like the real one's.
    pub(super) fn prepare(&mut self) -> Result<String> {
        if self.multisig.is_some() {
            return Err(RpcError::already_multisig());
        }
        Ok(self.message(1, vec![self.shared_secret()]))
    }

    /// `make_multisig`: takes the others' first-round messages.
    pub(super) fn make(&mut self, infos: &[String], threshold: u32) -> Result<String> {
        if self.multisig.is_some() {
            return Err(RpcError::already_multisig());
        }
        let messages = parse(infos).map_err(RpcError::unknown)?;
        if messages.iter().any(|message| message.round != 1) {
            return Err(RpcError::unknown(WRONG_ROUND));
        }
        // Like the real wallet: a message given twice, or one's own, is one participant.
        let mut signers: BTreeSet<_> = messages.iter().map(|message| message.signer).collect();
        signers.insert(self.signer());
        let mut secrets: BTreeSet<_> =
            messages.iter().flat_map(|message| message.keys.clone()).collect();
        secrets.insert(self.shared_secret());
        let total = signers.len() as u32;
        if !(1..=total).contains(&threshold) || total < 2 {
            return Err(RpcError::unknown("multisig account: tried to set invalid threshold."));
        }
        let secrets: Vec<&[u8]> = secrets.iter().map(<[u8; 32]>::as_slice).collect();
        let common = keccak(&secrets);
        let multisig = Multisig { threshold, signers, common, round: 2, imported: BTreeSet::new() };
        let keys = pair_keys(&self.signer(), &multisig);
        self.multisig = Some(multisig);
        Ok(self.message(2, keys))
    }

    /// `exchange_multisig_keys`: takes the others' messages of the awaited round.
    pub(super) fn exchange(&mut self, infos: &[String]) -> Result<(String, String)> {
        let multisig = self.multisig.clone().ok_or_else(RpcError::not_multisig)?;
        if multisig.is_ready() {
            let text = "This wallet is multisig, and already finalized";
            return Err(RpcError::new(code::ALREADY_MULTISIG, text));
        }
        if infos.len() + 1 < multisig.signers.len() {
            return Err(more_info());
        }
        let failed =
            |why: String| RpcError::unknown(format!("Error calling exchange_multisig_info: {why}"));
        let messages = parse(infos).map_err(failed)?;
        if messages.iter().any(|message| message.round != multisig.round) {
            return Err(failed(WRONG_ROUND.to_owned()));
        }
        let own = self.signer();
        let mut left = multisig.signers.clone();
        left.remove(&own);
        for message in messages.iter().filter(|message| message.signer != own) {
            if !multisig.signers.contains(&message.signer) {
                return Err(failed("message from an unknown signer".to_owned()));
            }
            let expected = if multisig.round == 2 {
                pair_keys(&message.signer, &multisig)
            } else {
                final_keys(&multisig)
            };
            if message.keys != expected {
                return Err(failed("Multisig kex: messages disagree on the keys.".to_owned()));
            }
            left.remove(&message.signer);
        }
        if !left.is_empty() {
            return Err(more_info());
        }
        let keys = final_keys(&multisig);
        let round = multisig.round + 1;
        self.multisig = Some(Multisig { round, ..multisig });
        let address = if round > 3 { self.address() } else { String::new() };
        Ok((address, self.message(3, keys)))
    }

    fn message(&mut self, round: u8, keys: Vec<[u8; 32]>) -> String {
        let (secret, nonce) = (self.signing_key(), self.fresh());
        KexMessage { round, keys, signer: public_key(&secret) }.encode(&secret, &nonce)
    }
}

const WRONG_ROUND: &str = "Messages don't have the expected kex round number.";

fn more_info() -> RpcError {
    RpcError::new(code::THRESHOLD_NOT_REACHED, "Needs multisig info from more participants")
}

/// One key for each pair that `signer` is part of.
fn pair_keys(signer: &[u8; 32], multisig: &Multisig) -> Vec<[u8; 32]> {
    let others = multisig.signers.iter().filter(|other| *other != signer);
    let pair = |other: &[u8; 32]| {
        let (low, high) = if signer < other { (signer, other) } else { (other, signer) };
        public_key(&Scalar::from_bytes_mod_order(keccak(&[low, high, &multisig.common])))
    };
    others.map(pair).collect()
}

fn parse(infos: &[String]) -> std::result::Result<Vec<KexMessage>, String> {
    infos.iter().map(|info| KexMessage::parse(info).map_err(|error| words(error, info))).collect()
}

/// The real wallet's words.
fn words(error: KexError, info: &str) -> String {
    match error {
        KexError::Magic if info.len() < MAGIC_FIRST.len() => format!(
            "basic_string::substr: __pos (which is {}) > this->size() (which is {})",
            MAGIC_FIRST.len(),
            info.len()
        ),
        KexError::Magic => "Multisig kex msg magic inconsistency.".to_owned(),
        KexError::Encoding | KexError::TooLong => "Multisig kex msg decoding error.".to_owned(),
        KexError::Layout => "Deserializing kex msg failed.".to_owned(),
        KexError::Key | KexError::Signature => "Multisig kex msg signature invalid.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others<T: Clone>(all: &[T], but: usize) -> Vec<T> {
        let all = all.iter().enumerate().filter(|(index, _)| *index != but);
        all.map(|(_, item)| item.clone()).collect()
    }

    fn three() -> Vec<Wallet> {
        ["b", "v", "a"].map(|file| Wallet::new(1, file, "", 0)).to_vec()
    }

    fn made(wallets: &mut [Wallet]) -> Vec<String> {
        let first: Vec<_> = wallets.iter_mut().map(|wallet| wallet.prepare().unwrap()).collect();
        let made = wallets.iter_mut().enumerate();
        made.map(|(at, wallet)| wallet.make(&others(&first, at), 2).unwrap()).collect()
    }

    #[test]
    fn three_wallets_arrive_at_one_address() {
        let mut wallets = three();
        let second = made(&mut wallets);
        let third: Vec<_> = (0..3)
            .map(|at| {
                let (address, info) = wallets[at].exchange(&others(&second, at)).unwrap();
                assert_eq!(address, "");
                info
            })
            .collect();
        let last: Vec<_> =
            (0..3).map(|at| wallets[at].exchange(&others(&third, at)).unwrap().0).collect();
        assert!(last[0].starts_with('4') && last[0].len() == 95, "{}", last[0]);
        assert!(last.iter().all(|address| *address == last[0]));
        assert_eq!(wallets[0].exchange(&others(&third, 0)).unwrap_err().code, -28);
    }

    #[test]
    fn messages_of_another_round_or_party_are_refused() {
        let mut wallets = three();
        let first: Vec<_> = wallets.iter_mut().map(|wallet| wallet.prepare().unwrap()).collect();
        assert_eq!(wallets[0].exchange(&first[1..]).unwrap_err(), RpcError::not_multisig());
        let mut second = made(&mut wallets);
        let again = wallets[0].make(&first[1..], 2).unwrap_err();
        assert_eq!(again, RpcError::already_multisig());
        let replay = wallets[0].exchange(&first[1..]).unwrap_err();
        assert_eq!(replay.message, format!("Error calling exchange_multisig_info: {WRONG_ROUND}"));
        assert_eq!(wallets[0].exchange(&second[1..2]).unwrap_err().code, -33);
        assert_eq!(
            wallets[0].exchange(&["x".into(), "y".into()]).unwrap_err().message,
            "Error calling exchange_multisig_info: basic_string::substr: __pos (which is 13) > \
             this->size() (which is 1)"
        );
        // A stranger's message of the right round.
        let mut strangers = ["b", "v", "x"].map(|file| Wallet::new(2, file, "", 0));
        second[2] = made(&mut strangers)[2].clone();
        assert!(wallets[0].exchange(&second[1..]).is_err());
    }

    #[test]
    fn conflicting_first_messages_are_noticed_in_the_second_round() {
        let mut wallets = three();
        let mut first: Vec<_> =
            wallets.iter_mut().map(|wallet| wallet.prepare().unwrap()).collect();
        let honest = wallets[1].make(&others(&first, 1), 2).unwrap();
        let _ = wallets[2].make(&others(&first, 2), 2).unwrap();
        first[2] = Wallet::new(9, "liar", "", 0).prepare().unwrap();
        let mine = wallets[0].make(&others(&first, 0), 2).unwrap();
        let result = wallets[2].exchange(&[mine, honest]);
        assert!(result.unwrap_err().message.contains("disagree"));
    }
}
