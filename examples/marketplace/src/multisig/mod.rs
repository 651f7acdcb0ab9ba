//! The 2-of-3 multisig set-up: messages, and the rounds they travel in.

pub mod kex;
pub mod rounds;
