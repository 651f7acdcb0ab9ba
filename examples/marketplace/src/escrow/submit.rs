//! Multisig info from participants who keep their wallet themselves. It is hostile until proven
//! otherwise: everything is checked before anything is stored.

use serde::Deserialize;

use super::{Escrow, Event, Progress, State, load, setup};
use crate::{
    defect::{Defect, Defects},
    error::{Error, Result},
    market::Market,
    multisig::{
        kex::KexMessage,
        rounds::{self, STEPS, SetUp, hex},
    },
    wallet::Role,
};

/// What a participant sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The key-exchange round, 1 to 3; 4 is for the address.
    pub round: u8,
    /// The message that the wallet made for this round, or its address in round 4.
    pub info: String,
    /// For whom; must be the sender's own role.
    pub participant: Option<Role>,
}

/// Takes the info of `actor` for the current round of escrow `id`.
pub async fn submit(market: &Market, id: i64, actor: String, sent: Submission) -> Result<Progress> {
    let _held = market.locks.hold(id).await;
    let defects = market.defects;
    let round = sent.round;
    let result = market.store.write(move |tx| accept(tx, id, &actor, &sent, defects)).await;
    if let Err(error) = &result
        && matches!(error, Error::Kex(_) | Error::Info { .. } | Error::Forbidden { .. })
    {
        market.metrics.multisig_rejected.with_label_values(&[error.code()]).inc();
        tracing::warn!(escrow = id, round, reason = error.code(), %error, "multisig info rejected");
    }
    result?;
    setup::progress(market, id).await
}

fn accept(
    tx: &rusqlite::Transaction<'_>,
    id: i64,
    actor: &str,
    sent: &Submission,
    defects: Defects,
) -> Result<()> {
    let mut escrow = load(tx, id)?;
    let own = escrow.role_of(actor);
    let role = if defects.has(Defect::AcceptOtherParty) { sent.participant.or(own) } else { own };
    let role = role.ok_or(Error::Forbidden { who: "participants" })?;
    let is_address = sent.round == STEPS;
    let message = if is_address { None } else { parse(sent, defects)? };

    if sent.participant.is_some_and(|named| named != role) {
        return reject("other_party", "it is for another participant");
    }
    if escrow.is_managed(role) && !defects.has(Defect::AcceptOtherParty) {
        return reject("managed", "the marketplace keeps this participant's wallet");
    }
    if !matches!(escrow.state, State::Created | State::Multisig) {
        return Err(Error::State { id, state: escrow.state, action: "take multisig info" });
    }
    let setup = rounds::load(tx, id)?;
    let step = if defects.has(Defect::AcceptWrongRound) {
        setup.round
    } else {
        let own_round = message.as_ref().is_none_or(|message| message.round == sent.round);
        if !own_round || sent.round != setup.round + 1 {
            return reject("wrong_round", "it does not belong to the current round");
        }
        sent.round - 1
    };
    match setup.output(step, role) {
        Some(known) if known.info == sent.info => return Ok(()),
        Some(_) => return reject("already_sent", "another one was accepted for this round"),
        None => {}
    }
    if is_address && base58_monero::decode_check(&sent.info).is_err() {
        return reject("bad_address", "it is not a Monero address");
    }
    if let Some(message) = &message {
        check_signer(tx, &escrow, &setup, role, (&message.signer, &sent.info), defects)?;
    }
    if escrow.state == State::Created {
        escrow.apply(tx, Event::StartMultisig, actor)?;
        rounds::start(tx, id, 1)?;
    }
    let signer = message.as_ref().map(|message| &message.signer);
    rounds::store(tx, id, (setup.attempt, step), role, &sent.info, signer)?;
    tracing::info!(escrow = id, %role, round = sent.round, "multisig info accepted");
    Ok(())
}

fn parse(sent: &Submission, defects: Defects) -> Result<Option<KexMessage>> {
    match KexMessage::parse(&sent.info) {
        Ok(message) => Ok(Some(message)),
        Err(_) if defects.has(Defect::AcceptMalformed) => Ok(None),
        Err(_) if defects.has(Defect::PanicOnMalformed) => {
            crate::crash("called `Result::unwrap()` on an `Err` value: malformed multisig info")
        }
        Err(error) => Err(error.into()),
    }
}

/// The signer must be the participant's own key, never seen anywhere else.
fn check_signer(
    tx: &rusqlite::Transaction<'_>,
    escrow: &Escrow,
    setup: &SetUp,
    role: Role,
    (signer, info): (&[u8; 32], &str),
    defects: Defects,
) -> Result<()> {
    if !setup.may_sign(role, signer) && !defects.has(Defect::AcceptOtherParty) {
        return reject("other_party", "it is signed with another participant's key");
    }
    let seen: bool = tx
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM messages WHERE (info = ?1 OR signer = ?2)
             AND NOT (escrow_id = ?3 AND attempt = ?4))",
        )?
        .query_row((info, hex(signer), escrow.id, setup.attempt), |row| row.get(0))?;
    if seen && !defects.has(Defect::AcceptReplay) {
        return reject("replay", "it was used before, in another set-up");
    }
    Ok(())
}

fn reject(code: &'static str, reason: &'static str) -> Result<()> {
    Err(Error::Info { code, reason })
}
