//! One at a time on this host.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;

use super::JournalError;
use super::folder::{Folder, state_dirs};

/// Whoever holds the lock works for a few milliseconds. Longer than this it is stopped, and whoever
/// waits goes on without: at worst an empty clsact qdisc stays.
const WITHIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// The right to decide about qdiscs that runs share. It ends with its process, too.
#[derive(Debug)]
pub(in super::super) struct HostLock {
    _lock: Option<Flock<File>>,
}

impl HostLock {
    /// Waits for the others.
    pub(in super::super) fn take() -> Result<Self, JournalError> {
        let state = state_dirs().swap_remove(0);
        let Some(state) = Folder::of_state(&state, true)? else { return Ok(Self { _lock: None }) };
        let flags = OFlags::CREATE | OFlags::RDWR;
        let Some(mut file) = state.file("lock", flags)? else {
            return Ok(Self { _lock: None });
        };
        let until = Instant::now() + WITHIN;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self { _lock: Some(lock) }),
                Err(_) if Instant::now() >= until => return Ok(Self { _lock: None }),
                Err((back, _)) => file = back,
            }
            std::thread::sleep(PAUSE);
        }
    }
}
