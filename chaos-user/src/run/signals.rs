//! Ctrl-C.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    because: Arc<OnceLock<String>>,
}

impl Interrupt {
    /// Listens to SIGINT, SIGTERM and SIGHUP instead of ending at once: faults have to be healed.
    pub fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.asked))?;
        }
        // A suspended run would count as dead; its handler does nothing, and children are free of it.
        signal_hook::flag::register(SIGTSTP, Arc::default())?;
        Ok(interrupt)
    }

    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks for it.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Asks for it because the tool cannot go on.
    pub fn ask_because(&self, why: &str) {
        // The first reason counts.
        let _ = self.because.set(why.to_owned());
        self.ask();
    }

    /// Why, if it was not the user.
    pub fn because(&self) -> Option<&str> {
        self.because.get().map(String::as_str)
    }
}
