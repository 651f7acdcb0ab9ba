//! The dead-man switch: rules act only while somebody keeps extending the lease.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::FaultError;
use crate::host::boot_time;
use crate::kernel::bpf::LeaseHandle;
use crate::kernel::delay_line::Heartbeat;

/// How long rules outlive a controller that is killed or stopped.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// Long enough before the lease ends that a busy host does not lose it.
const EXTEND_EVERY: Duration = Duration::from_millis(100);

/// A lease, and who holds packets in this process, if anybody does.
pub(super) type Kept = (LeaseHandle, Option<Heartbeat>);

/// Extends leases from a thread of its own until it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(leases: Vec<Kept>) -> Result<Self, FaultError> {
        extend(&leases);
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("lease".into())
            .spawn(move || {
                while stopped.recv_timeout(EXTEND_EVERY) == Err(RecvTimeoutError::Timeout) {
                    extend(&leases);
                }
            })
            .map_err(FaultError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only stores words; it has nothing to panic about.
            let _ = thread.join();
        }
    }
}

fn extend(leases: &[Kept]) {
    let lease = LEASE.as_nanos() as u64;
    let until = boot_time().saturating_add(lease);
    for (handle, holder) in leases {
        handle.extend(until);
        handle.extend_detours(match holder {
            None => until,
            // A thread that has ended gives no sign any more: packets pass at once.
            Some(heartbeat) => heartbeat.last().map_or(0, |last| last.saturating_add(lease)),
        });
    }
}
