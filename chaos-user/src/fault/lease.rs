//! The dead-man switch: rules act only while somebody keeps extending the lease.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::FaultError;
use crate::host::boot_time;
use crate::kernel::bpf::LeaseHandle;

/// How long rules outlive a controller that is killed or stopped.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// Long enough before the lease ends that a busy host does not lose it.
const EXTEND_EVERY: Duration = Duration::from_millis(100);

/// Extends leases from a thread of its own until it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(leases: Vec<LeaseHandle>) -> Result<Self, FaultError> {
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

fn extend(leases: &[LeaseHandle]) {
    let until = boot_time().saturating_add(LEASE.as_nanos() as u64);
    for lease in leases {
        lease.extend(until);
    }
}
