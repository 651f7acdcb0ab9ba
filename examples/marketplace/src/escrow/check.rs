//! The invariants: what must be true of the data at any time, whatever happened.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::{Outcome, State};
use crate::error::Result;

/// The result of checking everything.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What users can dispose of, in piconero.
    pub balances: i64,
    /// What is held in escrows, in piconero.
    pub held: i64,
    /// What came in less what went out, in piconero; `balances + held` must equal it.
    pub deposits: i64,
    /// Escrows by state.
    pub escrows: Vec<(String, i64)>,
    /// Escrows that are in the middle of a step right now.
    pub in_progress: Vec<i64>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The invariant.
    pub invariant: &'static str,
    /// The object that violates it, and how.
    pub detail: String,
}

impl Report {
    /// The report on a database that cannot even be read.
    #[must_use]
    pub fn unreadable(why: &dyn std::fmt::Display) -> Self {
        let problem = Problem { invariant: "database_intact", detail: why.to_string() };
        Self {
            ok: false,
            problems: vec![problem],
            balances: 0,
            held: 0,
            deposits: 0,
            escrows: Vec::new(),
            in_progress: Vec::new(),
        }
    }
}

/// Checks everything. A step may take `patience_ms` before its escrow counts as stuck.
pub fn check(conn: &Connection, patience_ms: i64) -> Result<Report> {
    let mut problems = Vec::new();
    let integrity: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if integrity != "ok" {
        return Ok(Report::unreadable(&integrity));
    }
    for (invariant, sql) in VIOLATIONS {
        let mut query = conn.prepare(sql)?;
        let details = query.query_map([], |row| row.get::<_, String>(0))?;
        for detail in details {
            problems.push(Problem { invariant, detail: detail? });
        }
    }
    escrows(conn, &mut problems)?;
    stuck(conn, patience_ms, &mut problems)?;

    let sum = |pattern| -> Result<i64> {
        let sql = "SELECT coalesce(sum(balance), 0) FROM accounts WHERE id GLOB ?1";
        Ok(conn.query_row(sql, [pattern], |row| row.get(0))?)
    };
    let (balances, held, deposits) = (sum("user:*")?, sum("escrow:*")?, -sum("external")?);
    if balances + held != deposits {
        let detail = format!("{balances} + {held} is not {deposits}");
        problems.push(Problem { invariant: "money_conserved", detail });
    }
    let mut query = conn.prepare("SELECT state, count(*) FROM escrows GROUP BY state")?;
    let counts = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let escrows = counts.collect::<Result<_, _>>()?;
    let mut query =
        conn.prepare("SELECT id FROM escrows WHERE state IN('funding', 'releasing', 'resolving')")?;
    let in_progress = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Report { ok: problems.is_empty(), problems, balances, held, deposits, escrows, in_progress })
}

/// Queries that must give no row; each row says what is wrong.
const VIOLATIONS: &[(&str, &str)] = &[
    (
        "references_intact",
        "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to a missing ' || parent
         FROM pragma_foreign_key_check",
    ),
    (
        "transfers_balance",
        "SELECT 'transfer ' || transfer_id || ' sums to ' || sum(amount) FROM entries
         GROUP BY transfer_id HAVING sum(amount) <> 0 OR count(*) <> 2",
    ),
    (
        "balances_match_entries",
        "SELECT a.id || ' shows ' || a.balance || ', its entries ' || coalesce(sum(e.amount), 0)
         FROM accounts a LEFT JOIN entries e ON e.account = a.id
         GROUP BY a.id HAVING a.balance <> coalesce(sum(e.amount), 0)",
    ),
    (
        "no_debts",
        "SELECT id || ' is at ' || balance FROM accounts WHERE balance < 0 AND id <> 'external'",
    ),
    (
        "disputes_match",
        "SELECT 'escrow ' || e.id || ' is ' || e.state || ', its dispute says ' ||
         coalesce(d.outcome, 'nothing')
         FROM disputes d JOIN escrows e ON e.id = d.escrow_id
         WHERE (d.outcome IS NOT NULL) <> (e.state IN('resolved_release', 'resolved_refund'))
         OR (d.outcome = 'release' AND e.state = 'resolved_refund')
         OR (d.outcome = 'refund' AND e.state = 'resolved_release')",
    ),
    (
        "participants_agree",
        "SELECT 'escrow ' || e.id || ' has address ' || coalesce(e.address, 'none') || ', the ' ||
         m.participant || ' reports ' || m.info
         FROM escrows e JOIN messages m ON m.escrow_id = e.id AND m.round = 3
         AND m.attempt = (SELECT max(attempt) FROM sessions WHERE escrow_id = e.id)
         WHERE e.address IS NOT NULL AND m.info <> e.address",
    ),
    (
        "set_up_complete",
        "SELECT 'escrow ' || e.id || ' is ' || e.state || ' without three multisig addresses'
         FROM escrows e WHERE e.state NOT IN('created', 'multisig', 'cancelled') AND 3 <>
         (SELECT count(*) FROM messages m WHERE m.escrow_id = e.id AND m.round = 3 AND m.attempt =
          (SELECT max(attempt) FROM sessions WHERE escrow_id = e.id))",
    ),
];

/// The money of each escrow must be where its state says.
fn escrows(conn: &Connection, problems: &mut Vec<Problem>) -> Result<()> {
    let mut query = conn.prepare(
        "SELECT e.id, e.state, e.amount, coalesce(a.balance, 0),
         (SELECT count(*) FROM transfers t WHERE t.escrow_id = e.id AND t.kind = 'release'),
         (SELECT count(*) FROM transfers t WHERE t.escrow_id = e.id AND t.kind = 'refund')
         FROM escrows e LEFT JOIN accounts a ON a.id = 'escrow:' || e.id",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let (amount, held): (i64, i64) = (row.get(2)?, row.get(3)?);
        let (released, refunded): (i64, i64) = (row.get(4)?, row.get(5)?);
        let Some(state) = State::from_name(&name) else {
            let detail = format!("escrow {id} is in an unknown state, {name}");
            problems.push(Problem { invariant: "known_state", detail });
            continue;
        };
        if released + refunded > 1 {
            let detail = format!("escrow {id} was paid out {} times", released + refunded);
            problems.push(Problem { invariant: "paid_once", detail });
        }
        let expected = match state.payout() {
            Some(Outcome::Release) => (1, 0),
            Some(Outcome::Refund) => (0, 1),
            None => (0, 0),
        };
        if (released, refunded) != expected {
            let detail = format!("escrow {id} is {state}: {released} releases, {refunded} refunds");
            problems.push(Problem { invariant: "payout_matches_state", detail });
        }
        if held != if state.holds_money() { amount } else { 0 } {
            let detail = format!("escrow {id} of {amount} is {state} and holds {held}");
            problems.push(Problem { invariant: "held_matches_state", detail });
        }
    }
    Ok(())
}

fn stuck(conn: &Connection, patience_ms: i64, problems: &mut Vec<Problem>) -> Result<()> {
    let mut query = conn.prepare(
        "SELECT 'escrow ' || id || ' has been ' || state || ' for ' || (?1 - updated_at) || ' ms'
         FROM escrows WHERE state IN('funding', 'releasing', 'resolving') AND updated_at < ?1 - ?2",
    )?;
    let details = query.query_map(params![crate::now_ms(), patience_ms], |row| row.get(0))?;
    for detail in details {
        problems.push(Problem { invariant: "nothing_stuck", detail: detail? });
    }
    Ok(())
}
