//! Follows the target's logs, and keeps what was written around looks that were not as expected.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::event::{LogLine, Logged, What};
use super::log::EventLog;
use super::world::World;
use crate::experiment::Redactor;

/// The pause between two looks at the files.
const EVERY: Duration = Duration::from_millis(50);
/// What was written so long before a miss is kept, in nanoseconds …
const BEFORE: u64 = 2_000_000_000;
/// … and what is written so long after it.
const AFTER: u64 = 1_000_000_000;
/// Lines remembered while nothing is wrong, and recorded at once when something is.
const RECENT: usize = 60;
/// The most lines recorded of one log in one run.
const MOST: usize = 1500;
/// The most bytes read of one log at once; what is before them is skipped.
const CHUNK: u64 = 256 * 1024;
/// The longest line that is kept, in characters.
const LINE: usize = 400;

/// A log that the target writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Whose.
    pub source: String,
    /// Where; it may not exist yet.
    pub path: PathBuf,
}

/// Does something while the logs of `world` are followed.
pub(super) fn following<T>(world: &dyn World, log: &EventLog<'_>, work: impl FnOnce() -> T) -> T {
    let mut tails: Vec<Tail> = world.logs().into_iter().map(Tail::at_end).collect();
    if tails.is_empty() {
        return work();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = false;
            while !last {
                // Asked first, so that the last look comes after all the work.
                last = done.load(Ordering::Acquire);
                for tail in &mut tails {
                    tail.look(log);
                }
                if !last {
                    log.clock().sleep(EVERY);
                }
            }
        });
        let _done = Done(&done);
        work()
    })
}

/// Ends the following on every way out.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How far a log was read.
struct Tail {
    file: LogFile,
    read: u64,
    partial: Vec<u8>,
    recent: VecDeque<LogLine>,
    recorded: usize,
    skipped: u64,
}

impl Tail {
    fn at_end(file: LogFile) -> Self {
        let read = std::fs::metadata(&file.path).map_or(0, |found| found.len());
        let (partial, recent) = (Vec::new(), VecDeque::new());
        Self { file, read, partial, recent, recorded: 0, skipped: 0 }
    }

    fn look(&mut self, log: &EventLog<'_>) {
        let now = log.clock().now();
        // A log that cannot be read now may be there at the next look.
        let bytes = self.news().unwrap_or_default();
        self.add(&bytes, now, log.redactor());
        let Some(miss) = log.last_miss() else { return };
        if now > miss.saturating_add(AFTER) {
            return;
        }
        let from = miss.saturating_sub(BEFORE);
        let lines: Vec<LogLine> = self.recent.drain(..).filter(|line| line.at >= from).collect();
        if lines.is_empty() || self.recorded >= MOST {
            self.skipped += lines.len() as u64;
            return;
        }
        self.recorded += lines.len();
        let (source, skipped) = (self.file.source.clone(), std::mem::take(&mut self.skipped));
        log.record(What::Logged(Logged { source, lines, skipped }));
    }

    /// What was written since the last look.
    fn news(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.file.path)?;
        let length = file.metadata()?.len();
        if length < self.read {
            // Truncated or replaced.
            (self.read, self.partial) = (0, Vec::new());
        }
        let skips = length - self.read > CHUNK;
        if skips {
            self.read = length - CHUNK;
            self.partial.clear();
            self.skipped += 1;
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(CHUNK).read_to_end(&mut bytes)?;
        self.read += bytes.len() as u64;
        if skips {
            // Half a line, which may begin with half a secret.
            let whole =
                bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            bytes.drain(..whole);
        }
        Ok(bytes)
    }

    fn add(&mut self, bytes: &[u8], now: u64, redactor: &Redactor) {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        for line in String::from_utf8_lossy(&whole).lines().filter(|line| !line.trim().is_empty()) {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
                self.skipped += 1;
            }
            let text = redactor.text(line.trim_end()).chars().take(LINE).collect();
            self.recent.push_back(LogLine { at: now, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Mutex;

    use super::*;
    use crate::run::Clock;

    /// A clock that only moves when told to.
    #[derive(Default)]
    struct Still(Mutex<u64>);

    impl Clock for Still {
        fn now(&self) -> u64 {
            *self.0.lock().unwrap()
        }
        fn wall(&self) -> String {
            String::new()
        }
        fn sleep(&self, _: Duration) {}
    }

    fn miss() -> What {
        serde_json::from_value(serde_json::json!({"done": {"name": "p", "kind": "probe",
            "role": "during", "began": 0, "began_wall": "", "took": 0, "output": null,
            "error": null, "met": false, "seen": "", "activity": null}}))
        .unwrap()
    }

    #[test]
    fn lines_around_a_miss_are_kept_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| file.as_file().write_all(text.as_bytes()).unwrap();
        write("from before the run\n");
        let clock = Still::default();
        let at = |ms: u64| *clock.0.lock().unwrap() = ms * 1_000_000;
        let redactor = Redactor::new(["s3cret".into()]).unwrap();
        let log = EventLog::new(&clock, redactor, None, &|_| {});
        let path = file.path().to_owned();
        let mut tail = Tail::at_end(LogFile { source: "s".into(), path });
        write("long before\n");
        at(100);
        tail.look(&log);
        write("just before, s3cret\nhalf ");
        at(4000);
        tail.look(&log);
        at(5000);
        log.record(miss());
        write("a line\n\n");
        at(5050);
        tail.look(&log);
        write("after\n");
        at(5900);
        tail.look(&log);
        write("long after\n");
        at(6100);
        tail.look(&log);
        let kept: Vec<(u64, String)> = log
            .finish()
            .unwrap()
            .into_iter()
            .filter_map(|event| match event.event {
                What::Logged(logged) => Some(logged.lines),
                _ => None,
            })
            .flatten()
            .map(|line| (line.at / 1_000_000, line.text))
            .collect();
        let expected = [(4000, "just before, *****"), (5050, "half a line"), (5900, "after")];
        assert_eq!(kept, expected.map(|(at, text)| (at, text.to_owned())));
    }

    #[test]
    fn a_flood_is_cut_and_said_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail::at_end(LogFile { source: "s".into(), path: file.path().to_owned() });
        let line = "x".repeat(1000) + "\n";
        file.as_file().write_all(line.repeat(1000).as_bytes()).unwrap();
        let bytes = tail.news().unwrap();
        assert!(bytes.len() as u64 <= CHUNK);
        tail.add(&bytes, 1, &Redactor::default());
        assert_eq!(tail.recent.len(), RECENT);
        assert!(tail.skipped > 0 && tail.recent.iter().all(|line| line.text.len() == LINE));
        assert!(tail.news().unwrap().is_empty());
    }
}
