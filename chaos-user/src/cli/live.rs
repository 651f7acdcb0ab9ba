//! What is shown while runs go on: lines of what happens, and on a terminal a last line that says
//! which run it is, how long it has been going on, and what is active.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::complain;
use crate::report::{Shown, progress};
use crate::run::{Event, Role, What};

/// The progress of one run.
pub(super) struct Live {
    quiet: bool,
    shown: Shown,
    /// Without a terminal there is none.
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Vec<String>,
    looks: u64,
    misses: u64,
    recovering: bool,
}

impl Live {
    /// Of a run with this name, the `at`th of so many.
    pub(super) fn new(name: &str, (at, all): (usize, usize), quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{prefix} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(format!("[{at}/{all}] {name}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let live = Self { quiet, shown: Shown::default(), bar, state: Mutex::default() };
        if all > 1 {
            live.line(&format!("=== {at} of {all}: {name}"));
        }
        live
    }

    /// Shows an event.
    pub(super) fn event(&self, event: &Event) {
        if self.quiet {
            return;
        }
        if let Some(line) = progress(&self.shown, event) {
            self.line(&line);
        }
        if let Some(bar) = &self.bar {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.add(&event.event);
            bar.set_message(state.words());
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| complain(line)),
            None => complain(line),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl State {
    fn add(&mut self, what: &What) {
        match what {
            What::Active { fault } => self.faults.push(fault.clone()),
            What::Healed(healed) => {
                self.faults.retain(|fault| *fault != healed.fault);
                self.recovering = self.faults.is_empty();
            }
            What::Done(result) if result.role == Role::During => {
                self.looks += 1;
                self.misses += u64::from(result.met == Some(false));
            }
            What::Done(result) if result.role == Role::After => self.recovering = false,
            _ => {}
        }
    }

    fn words(&self) -> String {
        let doing = match self.faults.as_slice() {
            [] if self.recovering => "recovering".to_owned(),
            [] => "no fault is active".to_owned(),
            faults => format!("active: {}", faults.join(", ")),
        };
        format!("{doing}; {} looks, {} not as expected", self.looks, self.misses)
    }
}
