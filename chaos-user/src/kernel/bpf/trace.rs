//! The eBPF side's log lines, through aya-log.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::mpsc::Sender;

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::{BpfError, Object};

/// Passes lines on to a channel.
struct Lines(Mutex<Sender<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Ok(sender) = self.0.lock() {
            // Nobody listens any more: the run is ending.
            let _ = sender.send(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// The reading end of the log. It must be taken before programs are loaded and kept while they
/// are: the kernel side finds the log's map through it.
pub struct Trace(EbpfLogger<Lines>);

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// Takes the reading end; lines go to `sender` whenever [`Self::flush`] is called.
    pub fn take(object: &mut Object, sender: Sender<String>) -> Result<Self, BpfError> {
        EbpfLogger::init_with_logger(object.ebpf(), Lines(Mutex::new(sender)))
            .map(Self)
            .map_err(|_| BpfError::Foreign { kind: "map", name: "AYA_LOGS" })
    }

    /// Reads what is there.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
