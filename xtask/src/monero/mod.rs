//! The catalogue with real wallets: Debian's package, and how the experiments differ.

mod changes;
mod package;

pub(crate) use changes::Catalogue;
pub(crate) use package::ensure_monero;
