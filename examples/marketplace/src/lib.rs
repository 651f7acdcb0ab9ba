//! A small escrow marketplace.
