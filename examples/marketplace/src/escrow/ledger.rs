//! Double-entry book-keeping: money moves between accounts and is never made.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::error::{Error, Result};

/// The largest amount of one transfer, in piconero (10⁶ XMR).
pub const MAX_AMOUNT: i64 = 1_000_000_000_000_000_000;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account<'a> {
    /// Everything outside; the only account that may be below zero.
    External,
    /// What a user can dispose of.
    User(&'a str),
    /// What is held for an escrow.
    Escrow(i64),
}

impl Account<'_> {
    fn id(&self) -> String {
        match self {
            Self::External => "external".to_owned(),
            Self::User(id) => format!("user:{id}"),
            Self::Escrow(id) => format!("escrow:{id}"),
        }
    }
}

/// Why money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From outside to a user.
    Deposit,
    /// From a user to outside.
    Withdraw,
    /// From the buyer to the escrow.
    Hold,
    /// Back, because the escrow could not be funded.
    Unhold,
    /// From the escrow to the vendor.
    Release,
    /// From the escrow back to the buyer.
    Refund,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdraw => "withdraw",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::Release => "release",
            Self::Refund => "refund",
        }
    }
}

/// Moves `amount` piconero. With `checked` an account below zero is refused.
pub fn transfer(
    tx: &Transaction<'_>,
    kind: Kind,
    (from, to): (&Account<'_>, &Account<'_>),
    amount: i64,
    escrow: Option<i64>,
    checked: bool,
) -> Result<()> {
    if !(1..=MAX_AMOUNT).contains(&amount) {
        return Err(Error::Invalid { field: "amount", problem: "is out of range" });
    }
    let have = balance(tx, from)?;
    if checked && *from != Account::External && have < amount {
        return Err(Error::Funds { have, need: amount });
    }
    tx.prepare_cached("INSERT INTO transfers(kind, escrow_id, created_at) VALUES(?1, ?2, ?3)")?
        .execute((kind.name(), escrow, crate::now_ms()))?;
    let transfer = tx.last_insert_rowid();
    for (account, delta) in [(from, -amount), (to, amount)] {
        let id = account.id();
        tx.prepare_cached(
            "INSERT INTO accounts(id, balance) VALUES(?1, ?2)
             ON CONFLICT(id) DO UPDATE SET balance = balance + excluded.balance",
        )?
        .execute((&id, delta))?;
        tx.prepare_cached("INSERT INTO entries(transfer_id, account, amount) VALUES(?1, ?2, ?3)")?
            .execute((transfer, &id, delta))?;
    }
    Ok(())
}

/// What an account holds.
pub fn balance(conn: &Connection, account: &Account<'_>) -> Result<i64> {
    let found = conn
        .prepare_cached("SELECT balance FROM accounts WHERE id = ?1")?
        .query_row([account.id()], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::memory;
    use proptest::prelude::*;

    fn sums(conn: &Connection) -> (i64, i64) {
        let sum = |sql| conn.query_row(sql, [], |row| row.get(0)).unwrap();
        (
            sum("SELECT coalesce(sum(balance), 0) FROM accounts"),
            sum("SELECT count(*) FROM accounts a WHERE balance <>
                 (SELECT sum(amount) FROM entries WHERE account = a.id)"),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn money_is_conserved(
            ops in prop::collection::vec((0_usize..5, 0_usize..5, -5_i64..500), 1..60)
        ) {
            let mut conn = memory();
            let accounts = [
                Account::External, Account::User("a"), Account::User("b"),
                Account::Escrow(1), Account::Escrow(2),
            ];
            for (from, to, amount) in ops {
                let (from, to) = (&accounts[from], &accounts[to]);
                let tx = conn.transaction().unwrap();
                let before = balance(&tx, from).unwrap();
                let done = transfer(&tx, Kind::Deposit, (from, to), amount, None, true);
                let allowed = amount > 0 && (*from == Account::External || before >= amount);
                prop_assert_eq!(done.is_ok(), allowed);
                tx.commit().unwrap();
                prop_assert_eq!(sums(&conn), (0, 0));
                for account in &accounts[1..] {
                    prop_assert!(balance(&conn, account).unwrap() >= 0);
                }
            }
        }
    }
}
