//! Users, their money outside escrows, and what vendors offer.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    escrow::{
        Key,
        ledger::{self, Account, Kind},
    },
    market::Market,
    wallet::Role,
};

/// A user.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// Chosen at sign-up.
    pub id: String,
    /// What they may be in an escrow.
    pub role: Role,
    /// As shown.
    pub name: String,
    /// What they can dispose of, in piconero.
    pub balance: i64,
    /// Where they are paid.
    pub payout_address: Option<String>,
}

/// A request for a new user.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// 1 to 64 letters, digits, `-` or `_`.
    pub id: String,
    /// What they may be in an escrow.
    pub role: Role,
    /// As shown; the id if not given.
    pub name: Option<String>,
    /// Where they are paid; a wallet is kept for them if not given.
    pub payout_address: Option<String>,
}

/// Something for sale.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// Its id.
    pub id: String,
    /// Who sells it.
    pub vendor_id: String,
    /// What it is.
    pub title: String,
    /// In piconero.
    pub price: i64,
}

/// A request for a new listing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewListing {
    /// 1 to 64 letters, digits, `-` or `_`.
    pub id: String,
    /// What it is.
    pub title: String,
    /// In piconero.
    pub price: i64,
}

const USER: &str = "SELECT u.id, u.role, u.name, coalesce(a.balance, 0), u.payout_address \
                    FROM users u LEFT JOIN accounts a ON a.id = 'user:' || u.id";

fn user_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<User> {
    let role: String = row.get(1)?;
    Ok(User {
        id: row.get(0)?,
        role: Role::from_name(&role).unwrap_or(Role::Buyer),
        name: row.get(2)?,
        balance: row.get(3)?,
        payout_address: row.get(4)?,
    })
}

/// User `id`.
pub fn load(conn: &Connection, id: &str) -> Result<User> {
    conn.prepare_cached(&format!("{USER} WHERE u.id = ?1"))?
        .query_row([id], user_from)
        .optional()?
        .ok_or_else(|| Error::NotFound { what: "user", id: id.to_owned() })
}

/// All users, up to 1000.
pub fn list(conn: &Connection) -> Result<Vec<User>> {
    let mut query = conn.prepare_cached(&format!("{USER} ORDER BY u.id LIMIT 1000"))?;
    let users = query.query_map([], user_from)?;
    Ok(users.collect::<Result<_, _>>()?)
}

/// Refuses unless `id` is a user with `role`.
pub fn require(conn: &Connection, id: &str, role: Role) -> Result<()> {
    let is = load(conn, id)?.role == role;
    if is { Ok(()) } else { Err(Error::Forbidden { who: role.name() }) }
}

/// The first arbiter there is.
pub fn any_arbiter(conn: &Connection) -> Result<Option<String>> {
    let sql = "SELECT id FROM users WHERE role = 'arbiter' ORDER BY id LIMIT 1";
    Ok(conn.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// Where a user is paid, if it is known.
pub fn payout_address(conn: &Connection, id: &str) -> Result<Option<String>> {
    Ok(load(conn, id)?.payout_address)
}

/// Stores where a user is paid.
pub fn set_payout_address(tx: &Transaction<'_>, id: &str, address: &str) -> Result<()> {
    tx.execute("UPDATE users SET payout_address = ?1 WHERE id = ?2", (address, id))?;
    Ok(())
}

/// Adds a user.
pub fn insert(tx: &Transaction<'_>, new: &NewUser) -> Result<()> {
    check_id(&new.id)?;
    if let Some(address) = &new.payout_address
        && base58_monero::decode_check(address).is_err()
    {
        return Err(Error::Invalid { field: "payout_address", problem: "is no Monero address" });
    }
    let name = new.name.as_deref().unwrap_or(&new.id);
    let added = tx.execute(
        "INSERT OR IGNORE INTO users(id, role, name, payout_address, created_at)
         VALUES(?1, ?2, ?3, ?4, ?5)",
        (&new.id, new.role.name(), name, &new.payout_address, crate::now_ms()),
    )?;
    if added == 1 { Ok(()) } else { Err(Error::Exists { what: "user", id: new.id.clone() }) }
}

/// Adds a listing of `vendor`.
pub fn insert_listing(tx: &Transaction<'_>, vendor: &str, new: &NewListing) -> Result<Listing> {
    require(tx, vendor, Role::Vendor)?;
    check_id(&new.id)?;
    if !(1..=ledger::MAX_AMOUNT).contains(&new.price) {
        return Err(Error::Invalid { field: "price", problem: "is out of range" });
    }
    if new.title.trim().is_empty() || new.title.len() > 200 {
        return Err(Error::Invalid { field: "title", problem: "must have 1 to 200 characters" });
    }
    let added = tx.execute(
        "INSERT OR IGNORE INTO listings(id, vendor_id, title, price, created_at)
         VALUES(?1, ?2, ?3, ?4, ?5)",
        (&new.id, vendor, &new.title, new.price, crate::now_ms()),
    )?;
    if added == 0 {
        return Err(Error::Exists { what: "listing", id: new.id.clone() });
    }
    let NewListing { id, title, price } = new.clone();
    Ok(Listing { id, vendor_id: vendor.to_owned(), title, price })
}

/// All listings, up to 1000.
pub fn listings(conn: &Connection) -> Result<Vec<Listing>> {
    let mut query = conn.prepare_cached(
        "SELECT id, vendor_id, title, price FROM listings ORDER BY id LIMIT 1000",
    )?;
    let rows = query.query_map([], |row| {
        let (id, vendor_id, title, price) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Listing { id, vendor_id, title, price })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves money between a user and the outside.
pub async fn move_money(
    market: &Market,
    id: String,
    kind: Kind,
    amount: i64,
    key: Key,
) -> Result<User> {
    market
        .store
        .write(move |tx| {
            load(tx, &id)?;
            if key.begin(tx, None)? == crate::escrow::Begin::New {
                let (outside, user) = (Account::External, Account::User(&id));
                let accounts =
                    if kind == Kind::Deposit { (&outside, &user) } else { (&user, &outside) };
                ledger::transfer(tx, kind, accounts, amount, None, true)?;
                key.finish(tx)?;
            }
            load(tx, &id)
        })
        .await
}

fn check_id(id: &str) -> Result<()> {
    let good = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let problem = "must have 1 to 64 letters, digits, '-' or '_'";
    if good { Ok(()) } else { Err(Error::Invalid { field: "id", problem }) }
}

/// Users and listings to try the service with; does nothing if they are there.
pub fn seed_demo(tx: &Transaction<'_>, money: i64) -> Result<()> {
    let people = [(Role::Buyer, 60), (Role::Vendor, 5), (Role::Arbiter, 2)];
    for (role, count) in people {
        for number in 1..=count {
            let id = format!("{role}-{number}");
            let new = NewUser { id: id.clone(), role, name: None, payout_address: None };
            if insert(tx, &new).is_ok() && role == Role::Buyer {
                let accounts = (&Account::External, &Account::User(&id));
                ledger::transfer(tx, Kind::Deposit, accounts, money, None, true)?;
            }
        }
    }
    for number in 1..=5_i64 {
        let (id, title) = (format!("listing-{number}"), format!("Demo item {number}"));
        let new = NewListing { id, title, price: number * 100_000_000_000 };
        match insert_listing(tx, &format!("vendor-{number}"), &new) {
            Ok(_) | Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
