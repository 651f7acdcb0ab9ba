//! House rules that clippy does not know, one per file.

mod no_foreign_tools;
mod orphans;
mod pure_modules;
mod security_tests;
mod size;
mod source;
mod unsafe_blocks;

use anyhow::Result;
use chaos_ebpf_build::Layout;

use source::Source;
pub(crate) use unsafe_blocks::Use;

/// A house rule: the files that break it, and how.
type Rule = fn(&[Source]) -> Vec<String>;

const RULES: [Rule; 6] = [
    size::check,
    orphans::check,
    pure_modules::check,
    no_foreign_tools::check,
    unsafe_blocks::check,
    security_tests::check,
];

/// Checks every rule on every Rust file of the workspace; returns what is wrong.
pub(crate) fn check(layout: &Layout) -> Result<Vec<String>> {
    let sources = source::read_all(layout)?;
    Ok(RULES.iter().flat_map(|rule| rule(&sources)).collect())
}

/// Every use of `unsafe` and its reason.
pub(crate) fn unsafe_uses(layout: &Layout) -> Result<Vec<Use>> {
    Ok(unsafe_blocks::uses(&source::read_all(layout)?))
}
