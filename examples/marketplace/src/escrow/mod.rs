//! Escrows: their states, their money, and everything that happens to them.

pub mod check;
mod funding;
mod idempotency;
pub mod ledger;
mod locks;
mod open;
mod record;
mod recover;
mod settle;
mod setup;
mod state;
mod submit;

pub use funding::fund;
pub(crate) use idempotency::Begin;
pub use idempotency::Key;
pub use locks::Locks;
pub use open::{NewEscrow, cancel, create, dispute, ship};
pub use record::{Escrow, History, history, list, load};
pub use recover::{reconcile, recover};
pub use settle::{Decision, settle};
pub use setup::{Progress, advance, complete, progress};
pub use state::{Event, Outcome, State};
pub use submit::{Submission, submit};
