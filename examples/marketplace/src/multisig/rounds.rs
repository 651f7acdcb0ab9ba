//! The durable state of a set-up: which attempt, which step, and every message so far.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::Serialize;

use crate::{error::Result, wallet::Role};

/// Steps of a 2-of-3 set-up: prepare, make, and two key exchanges.
pub const STEPS: u8 = 4;
/// After so many attempts a set-up is given up.
pub const MAX_ATTEMPTS: u32 = 8;

/// The output of one participant in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The step, from 0.
    pub step: u8,
    /// Whose.
    pub participant: Role,
    /// A key-exchange message, or the address in the last step.
    pub info: String,
    /// The key that signed it, in hex.
    pub signer: Option<String>,
}

/// A set-up.
#[derive(Debug, Clone, Default)]
pub struct SetUp {
    /// Counts from 1; 0 means that it has not begun.
    pub attempt: u32,
    /// Steps done.
    pub round: u8,
    /// `active`, or `stuck`.
    status: String,
    /// The outputs of this attempt.
    pub messages: Vec<Message>,
}

impl SetUp {
    /// Whether it was given up.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.status == "stuck"
    }

    /// The participants whose output of the current step is missing.
    #[must_use]
    pub fn missing(&self) -> Vec<Role> {
        if self.round >= STEPS {
            return Vec::new();
        }
        let has = |role| self.output(self.round, role).is_some();
        Role::ALL.into_iter().filter(|role| !has(*role)).collect()
    }

    /// What a participant put out in a step.
    #[must_use]
    pub fn output(&self, step: u8, role: Role) -> Option<&Message> {
        self.messages.iter().find(|message| message.step == step && message.participant == role)
    }

    /// The other participants' messages that `role` needs for the current step.
    #[must_use]
    pub fn infos_for(&self, role: Role) -> Vec<String> {
        let Some(step) = self.round.checked_sub(1) else { return Vec::new() };
        let others = Role::ALL.into_iter().filter(|other| *other != role);
        others.filter_map(|other| self.output(step, other)).map(|m| m.info.clone()).collect()
    }

    /// Whether `signer` may sign for `role`: the same key all along, and nobody else's.
    #[must_use]
    pub fn may_sign(&self, role: Role, signer: &[u8; 32]) -> bool {
        let signer = hex(signer);
        self.messages
            .iter()
            .filter_map(|m| Some((m.participant, m.signer.as_ref()?)))
            .all(|(participant, known)| (participant == role) == (*known == signer))
    }

    /// The address that the buyer's wallet reports.
    #[must_use]
    pub fn address_of_buyer(&self) -> Option<String> {
        self.output(STEPS - 1, Role::Buyer).map(|message| message.info.clone())
    }

    /// Whether all participants report the same address.
    #[must_use]
    pub fn addresses_agree(&self) -> bool {
        let all: Option<Vec<_>> =
            Role::ALL.into_iter().map(|role| self.output(STEPS - 1, role)).collect();
        all.is_some_and(|all| {
            all.windows(2).all(|pair| pair[0].info == pair[1].info)
                && all.iter().all(|message| !message.info.is_empty())
        })
    }
}

/// The newest attempt of escrow `id`.
pub fn load(conn: &Connection, id: i64) -> Result<SetUp> {
    let found = conn
        .prepare_cached(
            "SELECT attempt, round, status FROM sessions WHERE escrow_id = ?1
             ORDER BY attempt DESC LIMIT 1",
        )?
        .query_row([id], |row| {
            let (attempt, round, status) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(SetUp { attempt, round, status, messages: Vec::new() })
        })
        .optional()?;
    // An escrow in set-up without a session lost it; it starts again.
    let mut setup = found.unwrap_or_else(|| SetUp { attempt: 1, ..SetUp::default() });
    let mut query = conn.prepare_cached(
        "SELECT round, participant, info, signer FROM messages
         WHERE escrow_id = ?1 AND attempt = ?2 ORDER BY round, participant",
    )?;
    let rows = query.query_map((id, setup.attempt), |row| {
        let participant: String = row.get(1)?;
        Ok((row.get(0)?, participant, row.get(2)?, row.get(3)?))
    })?;
    for row in rows {
        let (step, participant, info, signer) = row?;
        if let Some(participant) = Role::from_name(&participant) {
            setup.messages.push(Message { step, participant, info, signer });
        }
    }
    Ok(setup)
}

/// Begins an attempt.
pub fn start(tx: &Transaction<'_>, id: i64, attempt: u32) -> Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO sessions(escrow_id, attempt, round, status, updated_at)
         VALUES(?1, ?2, 0, 'active', ?3)",
        (id, attempt, crate::now_ms()),
    )?;
    Ok(())
}

/// The current step is done.
pub fn advance(tx: &Transaction<'_>, id: i64, attempt: u32) -> Result<()> {
    start(tx, id, attempt)?;
    tx.execute(
        "UPDATE sessions SET round = round + 1, updated_at = ?3
         WHERE escrow_id = ?1 AND attempt = ?2 AND round < 4",
        (id, attempt, crate::now_ms()),
    )?;
    Ok(())
}

/// No further attempt is made.
pub fn mark_stuck(tx: &Transaction<'_>, id: i64, attempt: u32) -> Result<()> {
    tx.execute(
        "UPDATE sessions SET status = 'stuck' WHERE escrow_id = ?1 AND attempt = ?2",
        (id, attempt),
    )?;
    Ok(())
}

/// Keeps the output of a participant.
pub fn store(
    tx: &Transaction<'_>,
    id: i64,
    (attempt, step): (u32, u8),
    role: Role,
    info: &str,
    signer: Option<&[u8; 32]>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO messages(escrow_id, attempt, round, participant, info, signer, at)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (id, attempt, step, role.name(), info, signer.map(hex), crate::now_ms()),
    )?;
    Ok(())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(step: u8, participant: Role, info: &str, signer: u8) -> Message {
        Message { step, participant, info: info.into(), signer: Some(hex([signer; 32])) }
    }

    #[test]
    fn a_step_takes_the_other_two_messages_of_the_step_before() {
        let mut setup = SetUp { attempt: 1, round: 1, ..SetUp::default() };
        for (role, info) in Role::ALL.into_iter().zip(["b", "v", "a"]) {
            setup.messages.push(message(0, role, info, 0));
        }
        assert_eq!(setup.infos_for(Role::Vendor), ["b", "a"]);
        assert_eq!(setup.missing(), Role::ALL);
        setup.messages.push(message(1, Role::Buyer, "b2", 0));
        assert_eq!(setup.missing(), [Role::Vendor, Role::Arbiter]);
    }

    #[test]
    fn a_key_belongs_to_one_participant_and_does_not_change() {
        let setup = SetUp { messages: vec![message(0, Role::Buyer, "b", 1)], ..SetUp::default() };
        assert!(setup.may_sign(Role::Buyer, &[1; 32]));
        assert!(!setup.may_sign(Role::Buyer, &[2; 32]));
        assert!(!setup.may_sign(Role::Vendor, &[1; 32]));
        assert!(setup.may_sign(Role::Vendor, &[2; 32]));
    }

    #[test]
    fn addresses_agree_only_if_all_three_are_there_and_equal() {
        let mut setup = SetUp { round: 3, ..SetUp::default() };
        for role in Role::ALL {
            assert!(!setup.addresses_agree());
            setup.messages.push(message(3, role, "4A", 0));
        }
        assert!(setup.addresses_agree());
        setup.messages[1].info = "4B".into();
        assert!(!setup.addresses_agree());
    }
}
