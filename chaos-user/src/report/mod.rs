//! Reports: pure renderers of what a run showed. The same events give the same bytes.

mod html;
mod journal;
mod json;
mod junit;
mod markdown;
mod progress;
mod terminal;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod workflow_tests;

pub use html::html;
pub use journal::journal;
pub use json::json;
pub use junit::{JunitError, junit};
pub use markdown::markdown;
pub use progress::{Shown, progress};
pub use terminal::{Tally, terminal};
