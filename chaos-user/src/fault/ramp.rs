//! A fault that grows.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::experiment::units::Span;

/// Into how many steps the growth is cut.
const STEPS: u32 = 20;

/// Changes the settings step by step, from a thread of its own, until it is dropped or done.
#[derive(Debug)]
pub(super) struct Ramp {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ramp {
    /// The share of the whole to begin with.
    pub(super) fn first(ramp: Span) -> f64 {
        if ramp > Span::ZERO { 1.0 / f64::from(STEPS) } else { 1.0 }
    }

    /// Calls `grow` with a larger share of the whole each time, and with 1 in the end.
    pub(super) fn start(
        ramp: Span,
        mut grow: impl FnMut(f64) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let whole = Duration::from(ramp);
        let began = Instant::now();
        let thread = std::thread::Builder::new().name("ramp".into()).spawn(move || {
            for step in 2..=STEPS {
                let at = whole.mul_f64(f64::from(step - 1) / f64::from(STEPS));
                let wait = at.saturating_sub(began.elapsed());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                grow(f64::from(step) / f64::from(STEPS));
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ramp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there is told where it happens; healing goes on.
            let _ = thread.join();
        }
    }
}
