//! Stages of a test run: what each found, and the table at the end.

mod libtest;
mod table;
mod tally;

pub(crate) use libtest::parse as parse_libtest;
pub(crate) use table::render;
pub(crate) use tally::{Report, Tally};
