//! Network namespaces as values, and threads that run inside them.
//!
//! `setns` changes the calling thread only, and a thread that failed to come back would carry the
//! wrong namespace into unrelated work. So nothing here ever returns from a namespace: code that
//! must run inside one gets a thread of its own, which is thrown away afterwards.

mod error;
mod handle;
mod runtime;

pub use error::NetNsError;
pub use handle::{NetNs, NetNsId};
pub use runtime::NetNsRuntime;
