//! What probes remember between looks: how far logs were read, and what was seen first.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::log::Reading;

/// What probes remember between looks. One per run.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// Counts the beginnings of phases.
    phase: u64,
    /// Logs, and how long they were when the run and when the phase began.
    logs: HashMap<PathBuf, (u64, u64)>,
    /// By probe: the phase in which it was looked at last, and how far it had read.
    readings: HashMap<String, (u64, Reading)>,
    /// By probe: its first output.
    first: HashMap<String, Value>,
}

impl Memory {
    /// A log counts from its present end; one that does not exist yet counts whole.
    pub fn watch(&self, log: &Path) {
        let length = length(log);
        self.lock().logs.entry(log.to_owned()).or_insert((length, length));
    }

    /// A log counts from its beginning.
    pub fn watch_whole(&self, log: &Path) {
        self.lock().logs.entry(log.to_owned()).or_insert((0, 0));
    }

    /// A fault begins, or begins to be healed: from now on lines belong to the next phase.
    pub fn begin_phase(&self) {
        let mut all = self.lock();
        all.phase += 1;
        for (log, (_, phase)) in &mut all.logs {
            *phase = length(log);
        }
    }

    /// How far a probe has read a log, to be given back with [`Self::keep_reading`].
    pub(super) fn reading(&self, probe: &str, log: &Path, whole_run: bool) -> (u64, Reading) {
        let all = self.lock();
        let phase = if whole_run { 0 } else { all.phase };
        let (run, now) = all.logs.get(log).copied().unwrap_or_default();
        match all.readings.get(probe) {
            Some((of, reading)) if *of == phase => (phase, reading.clone()),
            _ => (phase, Reading::from(if whole_run { run } else { now })),
        }
    }

    pub(super) fn keep_reading(&self, probe: &str, phase: u64, reading: Reading) {
        self.lock().readings.insert(probe.to_owned(), (phase, reading));
    }

    /// The first output of a probe, which is this one unless there was one before.
    pub fn first(&self, probe: &str, output: &Value) -> Value {
        self.lock().first.entry(probe.to_owned()).or_insert_with(|| output.clone()).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |file| file.len())
}
