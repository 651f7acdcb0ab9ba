//! The guardian: a small process beside each run that puts everything back when the run cannot.
//!
//! It is started first, is handed the journal, holds the lock of it together with the controller, and
//! waits for one of three things. The controller says that it is done: the guardian ends. The controller dies,
//! whatever the reason: the guardian undoes what the journal says. The controller is stopped
//! (SIGSTOP) for longer than a lease, or gives no sign of life for much longer: it counts as dead,
//! and so that it cannot go on later with what was taken back, the guardian kills it first.
//!
//! The other way round, a controller whose guardian is gone takes everything back and aborts. If
//! both die, the lease ends what rules do, and `chaos heal` puts the rest back.

mod keeper;
mod watch;

pub(super) use keeper::Guardian;
pub use watch::guard;

use std::time::Duration;

use super::lease::LEASE;

/// How often the controller gives a sign of life.
const BEAT_EVERY: Duration = Duration::from_millis(100);
/// How long a stopped process is waited for: as long as its rules act.
const STOPPED_FOR: Duration = LEASE;
/// How long a process may be silent that is not stopped: the machine may be overloaded.
const SILENT_FOR: Duration = Duration::from_secs(15);
/// A sign of life.
const BEAT: u8 = b'.';
/// The controller is done, and what it could not put back is for `chaos heal`.
const OVER: u8 = b'F';
/// The guardian is ready.
const READY: u8 = b'R';
