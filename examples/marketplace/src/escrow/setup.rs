//! Drives the multisig set-up: asks the managed wallets, keeps every answer, compares the results.
//!
//! The set-up has four steps; the outputs of the first three are key-exchange messages, the output
//! of the last is the address of the shared wallet. Every answer is stored as soon as it is there,
//! so a killed process goes on where it was. A wallet cannot repeat a step: when its answer was
//! lost, or when the wallets disagree, the next attempt starts with fresh wallets.

use serde::Serialize;

use super::{Escrow, Event, State, load};
use crate::{
    defect::Defect,
    error::{Error, Result},
    market::Market,
    multisig::{
        kex::KexMessage,
        rounds::{self, STEPS, SetUp},
    },
    wallet::{MultisigState, Role, WalletError, rpc_code},
};

/// How far the set-up of an escrow is.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// The escrow.
    pub escrow_id: i64,
    /// Its state.
    pub state: State,
    /// Counts from 1; a new attempt starts with fresh wallets.
    pub attempt: u32,
    /// Steps done, of four.
    pub round: u8,
    /// The participants whose output of this step is missing.
    pub missing: Vec<Role>,
    /// The address, when all are done.
    pub address: Option<String>,
    /// The messages so far, as `[step][role]`, for participants who keep their wallet themselves.
    pub messages: Vec<rounds::Message>,
}

/// What one step of one wallet gave.
enum Answer {
    Output(Role, String, Option<[u8; 32]>),
    OutOfStep,
}

/// Does one step of the set-up of escrow `id`.
pub async fn advance(market: &Market, id: i64) -> Result<Progress> {
    let _held = market.locks.hold(id).await;
    step(market, id).await?;
    progress(market, id).await
}

/// Does all steps that are left.
pub async fn complete(market: &Market, id: i64) -> Result<Progress> {
    let _held = market.locks.hold(id).await;
    // A restart of the attempt adds at most one more set of steps.
    for _ in 0..=STEPS * 2 {
        if step(market, id).await? {
            break;
        }
    }
    progress(market, id).await
}

/// How far the set-up of escrow `id` is.
pub async fn progress(market: &Market, id: i64) -> Result<Progress> {
    market
        .store
        .read(move |conn| {
            let escrow = load(conn, id)?;
            let setup = rounds::load(conn, id)?;
            Ok(Progress {
                escrow_id: id,
                state: escrow.state,
                attempt: setup.attempt,
                round: setup.round,
                missing: setup.missing(),
                address: escrow.address,
                messages: setup.messages,
            })
        })
        .await
}

/// The attempt that made the wallets of escrow `id`.
pub(super) async fn attempt(market: &Market, id: i64) -> Result<u32> {
    market.store.read(move |conn| Ok(rounds::load(conn, id)?.attempt)).await
}

/// Whether a wallet is one that a 2-of-3 set-up makes.
pub(super) fn is_two_of_three(state: &MultisigState) -> bool {
    state.multisig && state.ready && state.threshold == 2 && state.total == 3
}

/// Does one step; says whether the set-up is complete.
async fn step(market: &Market, id: i64) -> Result<bool> {
    let (escrow, setup) = market
        .store
        .write(move |tx| {
            let mut escrow = load(tx, id)?;
            if escrow.state == State::Created {
                escrow.apply(tx, Event::StartMultisig, "multisig")?;
                rounds::start(tx, id, 1)?;
            }
            Ok((escrow, rounds::load(tx, id)?))
        })
        .await?;
    match escrow.state {
        State::Multisig => {}
        State::Cancelled => {
            let action = Event::StartMultisig.action();
            return Err(Error::State { id, state: escrow.state, action });
        }
        _ => return Ok(true),
    }
    if setup.is_stuck() {
        return Err(Error::Disagreement { what: "the address of the shared wallet" });
    }

    match ask_wallets(market, &escrow, &setup).await {
        Ok(true) => {}
        Ok(false) => {
            // A wallet is ahead of us: its last answer was lost.
            tracing::warn!(escrow = id, attempt = setup.attempt, "set-up starts again");
            restart(market, id, setup.attempt).await?;
            return Ok(false);
        }
        Err(error @ Error::Disagreement { .. }) => {
            return disagree(market, id, setup.attempt, error).await;
        }
        Err(error) => return Err(error),
    }

    let setup = market.store.read(move |conn| rounds::load(conn, id)).await?;
    if let Some(who) = setup.missing().first() {
        return Err(Error::Waiting { who: *who });
    }
    if setup.round + 1 < STEPS {
        market.store.write(move |tx| rounds::advance(tx, id, setup.attempt)).await?;
        return Ok(false);
    }
    match finish(market, escrow, &setup).await {
        Err(error @ Error::Disagreement { .. }) => disagree(market, id, setup.attempt, error).await,
        other => other.map(|()| true),
    }
}

/// Asks every managed wallet whose output is missing. `false`: a wallet is out of step.
async fn ask_wallets(market: &Market, escrow: &Escrow, setup: &SetUp) -> Result<bool> {
    let _conn = if market.defects.has(Defect::HoldConnectionDuringRpc) {
        Some(market.store.hold().await?)
    } else {
        None
    };
    let missing = setup.missing().into_iter().filter(|role| escrow.is_managed(*role));
    let asked = missing.map(|role| async move {
        let answer = ask(market, escrow, setup, role).await?;
        if let Answer::Output(role, output, signer) = answer {
            // Stored at once: the wallet will not say it again.
            let (id, attempt, round) = (escrow.id, setup.attempt, setup.round);
            let store = move |tx: &rusqlite::Transaction<'_>| {
                rounds::store(tx, id, (attempt, round), role, &output, signer.as_ref())
            };
            market.store.write(store).await?;
            return Ok(true);
        }
        Ok(false)
    });
    // All are waited for, so that no answer is lost because another wallet failed.
    let results: Vec<Result<bool>> = futures_util::future::join_all(asked).await;
    results.into_iter().try_fold(true, |all, one| Ok(one? && all))
}

async fn ask(market: &Market, escrow: &Escrow, setup: &SetUp, role: Role) -> Result<Answer> {
    let round = setup.round;
    let file = escrow.wallet_file(setup.attempt, role);
    let infos = setup.infos_for(role);
    let result = async {
        let mut wallet = market.wallets.of(role).session(&file, round == 0).await?;
        wallet.exchange(round, &infos).await
    };
    let answer = match result.await {
        Ok(answer) => answer,
        Err(error) if is_out_of_step(&error) => return Ok(Answer::OutOfStep),
        Err(error) if error.is_answer() => {
            tracing::error!(escrow = escrow.id, %role, %error, "a wallet refused the set-up");
            return Err(Error::Disagreement { what: "the key-exchange messages" });
        }
        Err(error) => return Err(error.into()),
    };
    if round + 1 == STEPS {
        return Ok(Answer::Output(role, answer.address, None));
    }
    let message = KexMessage::parse(&answer.multisig_info);
    match message {
        Ok(message) if message.round == round + 1 && setup.may_sign(role, &message.signer) => {
            Ok(Answer::Output(role, answer.multisig_info, Some(message.signer)))
        }
        other => {
            tracing::error!(escrow = escrow.id, %role, ?other, "a wallet gave an unusable message");
            Err(Error::Disagreement { what: "the key-exchange messages" })
        }
    }
}

/// Whether a wallet refuses because it has done this step before, or has lost an earlier one.
fn is_out_of_step(error: &WalletError) -> bool {
    match error {
        WalletError::Refused { code, message, .. } => {
            matches!(*code, rpc_code::ALREADY_MULTISIG | rpc_code::NOT_MULTISIG)
                // It has no code of its own.
                || message.contains("expected kex round number")
        }
        _ => false,
    }
}

/// Compares what the wallets say, and completes the set-up if they agree.
async fn finish(market: &Market, escrow: Escrow, setup: &SetUp) -> Result<()> {
    let id = escrow.id;
    let address = setup.address_of_buyer();
    let complete = |market: &Market, escrow: Escrow| {
        let (mut escrow, address, attempt) = (escrow, address.clone(), setup.attempt);
        let work = move |tx: &rusqlite::Transaction<'_>| {
            escrow.apply(tx, Event::MultisigReady, "multisig")?;
            tx.execute("UPDATE escrows SET address = ?1 WHERE id = ?2", (&address, id))?;
            rounds::advance(tx, id, attempt)
        };
        let store = market.store.clone();
        async move { store.write(work).await }
    };
    if market.defects.has(Defect::AcceptConflict) {
        return complete(market, escrow).await;
    }
    if market.defects.has(Defect::HalfApplyConflict) {
        complete(market, escrow.clone()).await?;
    }
    if !setup.addresses_agree() {
        tracing::error!(escrow = id, "the wallets report different addresses");
        return Err(Error::Disagreement { what: "the address of the shared wallet" });
    }
    let managed = Role::ALL.into_iter().filter(|role| escrow.is_managed(*role));
    let checks = managed.map(async |role| {
        let file = escrow.wallet_file(setup.attempt, role);
        let mut wallet = market.wallets.of(role).session(&file, false).await?;
        if is_two_of_three(&wallet.multisig_state().await?) {
            Ok(())
        } else {
            Err(Error::Disagreement { what: "whether the set-up is complete" })
        }
    });
    futures_util::future::try_join_all(checks).await?;
    if market.defects.has(Defect::HalfApplyConflict) {
        return Ok(());
    }
    complete(market, escrow).await
}

async fn disagree(market: &Market, id: i64, attempt: u32, error: Error) -> Result<bool> {
    if market.defects.has(Defect::HalfApplyConflict) {
        return Err(error);
    }
    if market.defects.has(Defect::StuckAfterConflict) {
        market.store.write(move |tx| rounds::mark_stuck(tx, id, attempt)).await?;
        return Err(error);
    }
    restart(market, id, attempt).await?;
    Err(error)
}

async fn restart(market: &Market, id: i64, attempt: u32) -> Result<()> {
    if attempt >= rounds::MAX_ATTEMPTS {
        return Err(Error::GaveUp { attempts: attempt });
    }
    market.store.write(move |tx| rounds::start(tx, id, attempt + 1)).await
}
