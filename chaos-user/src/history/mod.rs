//! What earlier runs showed: one line per run, kept beside the results.
//!
//! A [`Record`] is a run in short; [`History`] is the file; [`Trend`] and [`Summary`] are computed
//! from records alone.

mod record;
mod store;
mod summary;
mod trend;

pub use record::{FORMAT, Record};
pub use store::{History, HistoryError, Past};
pub use summary::{Line, Summary};
pub use trend::{Change, Trend};
