//! The key-exchange messages that multisig wallets send each other.
//!
//! The layout is that of monero-wallet-rpc 0.18: a magic word, then in Monero's base58 either
//! `secret key ‖ signer ‖ signature` (round 1) or `round ‖ count ‖ keys ‖ signer ‖ signature` (later
//! rounds). The signature is Monero's Schnorr signature, so a message that real wallets would refuse
//! is refused before it touches any state.

use curve25519_dalek::{
    constants::ED25519_BASEPOINT_TABLE,
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
};
use tiny_keccak::{Hasher as _, Keccak};

/// Magic word of the first round.
pub const MAGIC_FIRST: &str = "MultisigxV2R1";
/// Magic word of all later rounds.
pub const MAGIC_LATER: &str = "MultisigxV2Rn";
/// Longest text looked at; real messages of a 2-of-3 wallet have 189 or 236 characters.
pub const MAX_TEXT: usize = 1024;
/// The keys one message may carry.
const MAX_KEYS: usize = 16;

/// Why a text is not a key-exchange message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KexError {
    /// Longer than any message can be.
    #[error("it is longer than {MAX_TEXT} characters")]
    TooLong,
    /// The magic word is missing, or is one of an older protocol.
    #[error("it does not start with {MAGIC_FIRST} or {MAGIC_LATER}")]
    Magic,
    /// What follows the magic word is not base58.
    #[error("it is not valid base58")]
    Encoding,
    /// The decoded bytes do not have the layout of a message.
    #[error("its length does not fit its content")]
    Layout,
    /// A key in it is not a point of the curve.
    #[error("it holds a key that is not a curve point")]
    Key,
    /// The signature was not made by the signer over this content.
    #[error("its signature is invalid")]
    Signature,
}

/// One participant's message for one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KexMessage {
    /// The round this message belongs to, from 1.
    pub round: u8,
    /// Round 1: the message's secret key. Later: public keys.
    pub keys: Vec<[u8; 32]>,
    /// The public key that identifies the sender throughout the set-up.
    pub signer: [u8; 32],
}

impl KexMessage {
    /// Reads a message and verifies its signature.
    pub fn parse(text: &str) -> Result<Self, KexError> {
        if text.len() > MAX_TEXT {
            return Err(KexError::TooLong);
        }
        let (first, payload) =
            match (text.strip_prefix(MAGIC_FIRST), text.strip_prefix(MAGIC_LATER)) {
                (Some(payload), _) => (true, payload),
                (_, Some(payload)) => (false, payload),
                _ => return Err(KexError::Magic),
            };
        let bytes = base58_monero::decode(payload).map_err(|_| KexError::Encoding)?;
        let (round, count, body) = match bytes.as_slice() {
            body if first => (1, 1, body),
            [round @ 2..=127, count @ 1..=127, body @ ..] => (*round, usize::from(*count), body),
            _ => return Err(KexError::Layout),
        };
        if count > MAX_KEYS || body.len() != count * 32 + 96 {
            return Err(KexError::Layout);
        }
        let (keys, tail) = body.split_at(count * 32);
        let mut signer = [0; 32];
        signer.copy_from_slice(&tail[..32]);
        let (keys, rest) = keys.as_chunks::<32>();
        debug_assert!(rest.is_empty());
        let message = Self { round, keys: keys.to_vec(), signer };
        message.verify(&tail[32..])?;
        Ok(message)
    }

    /// Signs and encodes the message. `nonce` must be fresh for every message of a signer.
    #[must_use]
    pub fn encode(&self, secret: &Scalar, nonce: &Scalar) -> String {
        let commitment = (nonce * ED25519_BASEPOINT_TABLE).compress();
        let challenge = challenge(&self.to_sign(), &self.signer, &commitment);
        let response = nonce - challenge * secret;
        let mut bytes = Vec::with_capacity(self.keys.len() * 32 + 98);
        if self.round > 1 {
            bytes.extend([self.round, self.keys.len() as u8]);
        }
        bytes.extend(self.keys.iter().flatten());
        bytes.extend(self.signer);
        bytes.extend(challenge.as_bytes());
        bytes.extend(response.as_bytes());
        // Encoding fails only on an empty input's length table, never on bytes we made.
        format!("{}{}", self.magic(), base58_monero::encode(&bytes).unwrap_or_default())
    }

    fn magic(&self) -> &'static str {
        if self.round == 1 { MAGIC_FIRST } else { MAGIC_LATER }
    }

    fn to_sign(&self) -> [u8; 32] {
        let round = u32::from(self.round).to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![self.magic().as_bytes(), &round, &self.signer];
        parts.extend(self.keys.iter().map(<[u8; 32]>::as_slice));
        keccak(&parts)
    }

    fn verify(&self, signature: &[u8]) -> Result<(), KexError> {
        if self.round > 1 && !self.keys.iter().all(|key| point(key).is_some()) {
            return Err(KexError::Key);
        }
        let signer = point(&self.signer).ok_or(KexError::Key)?;
        let (claimed, response) = signature.split_at(32);
        let claimed = scalar(claimed).ok_or(KexError::Signature)?;
        let response = scalar(response).ok_or(KexError::Signature)?;
        let commitment =
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&claimed, &signer, &response);
        let expected = challenge(&self.to_sign(), &self.signer, &commitment.compress());
        if expected == claimed { Ok(()) } else { Err(KexError::Signature) }
    }
}

/// Monero's `cn_fast_hash` over the parts put together.
#[must_use]
pub fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak::v256();
    for part in parts {
        hasher.update(part);
    }
    let mut hash = [0; 32];
    hasher.finalize(&mut hash);
    hash
}

/// The public key of a secret key.
#[must_use]
pub fn public_key(secret: &Scalar) -> [u8; 32] {
    (secret * ED25519_BASEPOINT_TABLE).compress().to_bytes()
}

fn challenge(hash: &[u8; 32], signer: &[u8; 32], commitment: &CompressedEdwardsY) -> Scalar {
    Scalar::from_bytes_mod_order(keccak(&[hash, signer, commitment.as_bytes()]))
}

fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*bytes).decompress()
}

fn scalar(bytes: &[u8]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes.try_into().ok()?).into_option()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by monero-wallet-rpc 0.18 for a 2-of-3 wallet.
    const REAL_FIRST: &str = include_str!("testdata/round1.txt");
    const REAL_SECOND: &str = include_str!("testdata/round2.txt");
    const REAL_THIRD: &str = include_str!("testdata/round3.txt");

    fn ours(round: u8) -> String {
        let secret = Scalar::from(7_u64);
        let keys = vec![public_key(&Scalar::from(9_u64)); if round == 1 { 1 } else { 2 }];
        let message = KexMessage { round, keys, signer: public_key(&secret) };
        message.encode(&secret, &Scalar::from(11_u64))
    }

    #[test]
    fn messages_of_real_wallets_verify() {
        for (round, text) in [(1, REAL_FIRST), (2, REAL_SECOND), (3, REAL_THIRD)] {
            let message = KexMessage::parse(text.trim()).unwrap();
            assert_eq!(message.round, round);
            assert_eq!(ours(round).len(), text.trim().len());
        }
        // One wallet made the last two: the same key signs throughout.
        let signer = |text: &str| KexMessage::parse(text.trim()).unwrap().signer;
        assert_eq!(signer(REAL_SECOND), signer(REAL_THIRD));
    }

    #[test]
    fn our_messages_verify() {
        for round in 1..=3 {
            assert_eq!(KexMessage::parse(&ours(round)).unwrap().round, round);
        }
    }

    #[test]
    fn crafted_texts_are_refused_for_the_right_reason() {
        let real = REAL_SECOND.trim();
        let swapped = real.replacen(MAGIC_LATER, MAGIC_FIRST, 1);
        let cases = [
            ("INVALID@#$%".to_owned(), KexError::Magic),
            (String::new(), KexError::Magic),
            ("MultisigV1abc".to_owned(), KexError::Magic),
            (format!("{MAGIC_FIRST}@#$%"), KexError::Encoding),
            (format!("{MAGIC_FIRST}ümlaut"), KexError::Encoding),
            (MAGIC_LATER.to_owned(), KexError::Layout),
            (swapped, KexError::Layout),
            (real[..real.len() - 11].to_owned(), KexError::Layout),
            ("M".repeat(MAX_TEXT + 1), KexError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(KexMessage::parse(&text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_changed_character_is_noticed(at in 13_usize..236, with in "[1-9A-HJ-NP-Za-km-z]") {
            let mut text = REAL_SECOND.trim().to_owned();
            prop_assume!(text[at..=at] != with);
            text.replace_range(at..=at, &with);
            prop_assert!(KexMessage::parse(&text).is_err());
        }

        #[test]
        fn no_text_panics(text in "(MultisigxV2R[1n])?\\PC{0,300}") {
            let _ = KexMessage::parse(&text);
        }
    }
}
