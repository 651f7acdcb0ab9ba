//! The controller's side: starts the guardian, gives signs of life, notices its end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{BEAT, BEAT_EVERY, OVER, READY};
use crate::host::ProcessId;
use crate::target::{Beside, start_beside};

/// How long the guardian may take to be ready.
const WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end when there is nothing left for it to do, and how often it is looked
/// at whether it is stopped, and so never will.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);
/// How often it is looked at whether it is stopped, in beats.
const LOOK_EVERY: u32 = 5;

/// What is called with the reason when the guardian is gone.
pub(in super::super) type OnLoss = Box<dyn Fn(&str) + Send>;

/// A running guardian. Dropping it tells it that the run is over, and waits for its end.
#[derive(Debug)]
pub(in super::super) struct Guardian {
    process: Beside,
    socket: UnixStream,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<OnceLock<String>>,
}

impl Guardian {
    /// Starts it and waits until it is ready.
    pub(in super::super) fn start(on_loss: OnLoss) -> io::Result<Self> {
        let own = ProcessId::own().ok_or(io::ErrorKind::NotFound)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (pid, started) = (own.pid.to_string(), own.started.to_string());
        let arguments = ["guardian", &pid, &started].map(OsStr::new);
        let process = start_beside(&arguments, theirs.into())
            .map_err(|error| io::Error::other(error.to_string()))?;
        // From here on an error ends it: its socket closes while it is told nothing.
        ours.set_read_timeout(Some(WITHIN))?;
        let mut ready = [0];
        (&ours).read_exact(&mut ready)?;
        if ready[0] != READY {
            return Err(io::ErrorKind::InvalidData.into());
        }
        ours.set_nonblocking(true)?;
        let lost = Arc::new(OnceLock::new());
        let (stop, stopped) = channel();
        let watch = Watch {
            socket: ours.try_clone()?,
            pidfd: process.pidfd()?,
            process: ProcessId::of(process.pid()).ok_or(io::ErrorKind::NotFound)?,
            lost: Arc::clone(&lost),
            on_loss,
        };
        let thread = std::thread::Builder::new().name("guardian".into()).spawn(move || {
            let mut beats = 0;
            while stopped.recv_timeout(BEAT_EVERY) == Err(RecvTimeoutError::Timeout) {
                beats += 1;
                if watch.is_lost(beats) {
                    return;
                }
            }
        })?;
        Ok(Self { process, socket: ours, stop: Some(stop), thread: Some(thread), lost })
    }

    /// Gives it a share of the journal, and so of the lock on it: from here on the run's end is its
    /// business.
    pub(in super::super) fn hand_over(&self, journal: &File) -> io::Result<()> {
        let journal = [journal.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if !message.push(SendAncillaryMessage::ScmRights(&journal)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // A descriptor travels with a byte. Nothing was sent yet that could fill the socket but beats.
        sendmsg(&self.socket, &[IoSlice::new(&[BEAT])], &mut message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Its process.
    pub(in super::super) fn id(&self) -> Option<ProcessId> {
        ProcessId::of(self.process.pid())
    }

    /// Why it is gone, if it is.
    pub(in super::super) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }
}

struct Watch {
    socket: UnixStream,
    pidfd: OwnedFd,
    process: ProcessId,
    lost: Arc<OnceLock<String>>,
    on_loss: OnLoss,
}

impl Watch {
    fn is_lost(&self, beats: u32) -> bool {
        let pid = self.process.pid;
        let why = if crate::target::wait_readable(self.pidfd.as_fd(), Duration::ZERO) {
            format!("the guardian of this run (process {pid}) has died")
        } else if beats.is_multiple_of(LOOK_EVERY) && self.process.is_stopped() {
            // It could not act, and must not act later on what is taken back now.
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
            format!("the guardian of this run (process {pid}) was stopped")
        } else {
            // A full socket has beats enough in it.
            let _ = (&self.socket).write(&[BEAT]);
            return false;
        };
        let why = format!("{why}; without it nothing may stay changed, so everything is put back");
        let _ = self.lost.set(why.clone());
        (self.on_loss)(&why);
        true
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only writes bytes and looks; a panic would be that of `on_loss`.
            let _ = thread.join();
        }
        let _ = self.socket.set_nonblocking(false);
        let _ = self.socket.set_write_timeout(Some(Duration::from_secs(1)));
        let _ = self.socket.write_all(&[OVER]);
        let _ = self.socket.shutdown(Shutdown::Write);
        let until = Instant::now() + ENDS_WITHIN;
        let stopped = || self.id().is_some_and(ProcessId::is_stopped);
        while !self.process.has_ended(LOOK) && Instant::now() < until && !stopped() {}
        self.process.end(Duration::ZERO);
    }
}
