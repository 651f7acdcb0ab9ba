//! Clients that load the system under test, and a record of every operation of theirs.
//!
//! A workload runs on a thread of its own inside a node's network. [`Running::operations`] hands
//! over what happened since it was last asked; [`Summary`] says what all of it came to. Payloads
//! that are made up depend on the seed alone.

mod client;
mod engine;
mod fill;
mod operation;
mod payload;
mod running;
mod summary;
mod watch;

pub use operation::{Operation, State};
pub use payload::{Payload, payloads};
pub use running::{Finished, Running, Surroundings};
pub use summary::Summary;
pub use watch::{Use, Watched};
