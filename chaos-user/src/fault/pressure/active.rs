//! A limit that is lowered, watched and put back.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PressureError;
use crate::fault::RuleEvidence;
use crate::fault::journal::{Entry, HostLock, Journal, Record, runs};
use crate::fault::lockout::check_processes;
use crate::fault::undo::{CgroupUndo, UndoError};
use crate::host::{CgroupLimit, Cgroups};
use crate::plan::{CgroupRef, CountFiles, Counted, Pressure};

/// The pause between two looks at what the kernel counted.
const PAUSE: Duration = Duration::from_millis(250);
/// A last look sooner than this after the one before says nothing about a rate.
const TOO_SOON: Duration = Duration::from_millis(100);

/// A cgroup to be put under pressure.
#[derive(Debug, Clone)]
pub struct CgroupPressure {
    /// What it is called in messages.
    pub what: String,
    /// The cgroup.
    pub cgroup: CgroupRef,
    /// What it is to be short of.
    pub pressure: Pressure,
    /// The disk, as `MAJOR:MINOR`, if it is about one.
    pub device: Option<String>,
}

/// What was seen meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PressureEvidence {
    /// Looks at the cgroup.
    pub looks: u64,
    /// Those that found the limit in force.
    pub limited: u64,
    /// Those of them before which the kernel had held the cgroup back since the one before.
    pub held: u64,
    /// What the kernel counted while the limit was in force.
    pub counted: Counted,
    /// What the limit was before, if it was as low already and was left as it was.
    pub as_low_before: Option<String>,
    /// Whether the cgroup was gone in the end.
    pub gone: bool,
}

/// A cgroup whose limit is lowered. Dropping it puts the limit back.
#[derive(Debug)]
pub struct ActivePressure {
    entry: Option<Entry>,
    watch: Option<(Sender<()>, JoinHandle<PressureEvidence>)>,
    as_low_before: Option<String>,
}

impl CgroupPressure {
    /// Looks whether it may be done, and whether this host can do it. Changes nothing.
    pub fn check(&self) -> Result<(), PressureError> {
        let cgroups = Cgroups::find()?;
        check_processes(&self.what, &cgroups.processes(&self.cgroup.path)?)?;
        let (controller, file) = (self.pressure.controller(), self.pressure.file());
        Ok(cgroups.check_limit(&self.cgroup, controller, file)?)
    }

    /// Lowers the limit, and reads back that it is lowered. On an error nothing is changed.
    pub fn start(self, journal: &Journal) -> Result<ActivePressure, PressureError> {
        self.check()?;
        let limit = CgroupLimit::new(&self.cgroup, self.pressure.file(), self.device.clone());
        let failed = |what| self.failed(what);
        // Until the record is on disk nobody else may lower it: which limit is the one to put back?
        let alone = HostLock::take()?;
        self.check_others(&limit)?;
        let before = limit.read().map_err(failed("read"))?;
        let current = match self.pressure {
            Pressure::Memory(_) => limit.look("memory.current").map_err(failed("look beside"))?,
            Pressure::Cpu(_) | Pressure::Io(_) => String::new(),
        };
        let current = current.trim().parse().unwrap_or_default();
        let lowered = self.pressure.lowered(&before, current, procfs::page_size());
        // From here on every way out undoes what was done.
        let mut active = ActivePressure { entry: None, watch: None, as_low_before: None };
        let Some(ours) = lowered else {
            active.as_low_before = Some(before);
            return Ok(active);
        };
        let undo = CgroupUndo { limit: limit.clone(), before: before.clone(), ours: ours.clone() };
        active.entry = Some(journal.append(Record::Cgroup(undo))?);
        drop(alone);
        let pressure = self.pressure.clone();
        let watch = Watch { limit: limit.clone(), ours: ours.clone(), pressure };
        // Who is over the limit when it comes is held back at once, and maybe not again for seconds.
        let before_it = watch.count();
        limit.write(&ours).map_err(failed("lower"))?;
        let now = limit.read().map_err(failed("read back"))?;
        if now != ours {
            // What is not as the record says is nobody's to put back later.
            limit.write(&before).map_err(failed("put back"))?;
            let (cgroup, file) = (self.cgroup.path.clone(), limit.file.clone());
            return Err(PressureError::NotInForce { cgroup, file, wanted: ours, now });
        }
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("pressure".into()).spawn(move || {
            let mut seen = PressureEvidence::default();
            // What was served without it is not to be taken for all that it allows.
            let counted = if watch.is_rate() { watch.count() } else { before_it };
            let mut last = counted.map(|counted| (counted, Instant::now()));
            loop {
                let told = stopped.recv_timeout(PAUSE);
                watch.look(&mut last, &mut seen);
                if told != Err(RecvTimeoutError::Timeout) {
                    return seen;
                }
            }
        });
        let thread = thread.map_err(|source| PressureError::Limit {
            what: "watch",
            cgroup: self.cgroup.path.clone(),
            file: self.pressure.file().to_owned(),
            source,
        })?;
        active.watch = Some((stop, thread));
        Ok(active)
    }

    /// Refuses a limit that a fault, of this run or another, lowers already.
    fn check_others(&self, limit: &CgroupLimit) -> Result<(), PressureError> {
        for run in runs()? {
            let same = |record: &Record| match record {
                Record::Cgroup(CgroupUndo { limit: other, .. }) => {
                    (other.id, &other.file, &other.device) == (limit.id, &limit.file, &limit.device)
                }
                _ => false,
            };
            // Ids begin anew with each boot.
            if !run.before_boot() && run.records.iter().any(same) {
                let (cgroup, file) = (self.cgroup.path.clone(), limit.file.clone());
                return Err(PressureError::Busy { cgroup, file, run: run.name });
            }
        }
        Ok(())
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> PressureError + use<> {
        let (cgroup, file) = (self.cgroup.path.clone(), self.pressure.file().to_owned());
        move |source| PressureError::Limit { what, cgroup, file, source }
    }
}

impl ActivePressure {
    /// Puts the limit back, and says what was seen.
    pub fn heal(mut self) -> Result<PressureEvidence, UndoError> {
        let seen = self.watch.take().map(|(stop, watch)| {
            drop(stop);
            watch.join().unwrap_or_default()
        });
        if let Some(entry) = self.entry.take() {
            entry.undo()?;
        }
        let as_low_before = self.as_low_before.take();
        Ok(PressureEvidence { as_low_before, ..seen.unwrap_or_default() })
    }
}

impl Drop for ActivePressure {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // What cannot be undone stays in the journal for `chaos heal`.
            let _ = entry.undo();
        }
    }
}

impl PressureEvidence {
    /// As counters of a rule.
    pub fn as_rule(&self, rule: &str) -> RuleEvidence {
        let [read, written, ..] = self.counted.served;
        RuleEvidence {
            rule: rule.to_owned(),
            seen: self.looks,
            matched: self.limited,
            acted: self.held,
            bytes: read + written,
        }
    }
}

/// Looks at a cgroup, from a thread of its own.
struct Watch {
    limit: CgroupLimit,
    ours: String,
    pressure: Pressure,
}

impl Watch {
    fn count(&self) -> Option<Counted> {
        let (events, stalls) = self.pressure.count_files();
        let events = self.limit.look(events).ok()?;
        // Kernels may have been told not to tell stalls.
        let stalls = stalls.and_then(|file| self.limit.look(file).ok()).unwrap_or_default();
        let files = CountFiles { events: &events, stalls: &stalls };
        Some(self.pressure.counted(files, self.limit.device.as_deref()))
    }

    /// Whether it is about how much is served in a time.
    const fn is_rate(&self) -> bool {
        matches!(self.pressure, Pressure::Io(_))
    }

    fn look(&self, last: &mut Option<(Counted, Instant)>, seen: &mut PressureEvidence) {
        seen.looks += 1;
        let in_force = self.limit.read().is_ok_and(|now| now == self.ours);
        let counted = self.count();
        seen.gone = counted.is_none();
        let (Some(now), Some((since, when))) = (counted, *last) else { return };
        let apart = when.elapsed();
        if !in_force {
            // Somebody has changed it: what is counted from here on is not this fault's.
            *last = Some((now, Instant::now()));
            return;
        }
        seen.limited += 1;
        if self.is_rate() && apart < TOO_SOON {
            return;
        }
        if self.pressure.held_back(&since, &now, apart) {
            seen.held += 1;
        }
        seen.counted.add(&since, &now);
        *last = Some((now, Instant::now()));
    }
}
