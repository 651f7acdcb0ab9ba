//! What the user typed.

pub mod lab;
