//! Whether the kernel held a cgroup back, from what it counts. Pure.

use std::time::Duration;

use super::{IoMax, Pressure};

/// A disk that served this share of what the limit allows was held up by it.
const AT_THE_LIMIT: f64 = 0.9;

/// What the kernel has counted of a cgroup by some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// CPU: periods in which it wanted to run.
    pub periods: u64,
    /// CPU: those in which it was not allowed to run on. Memory: how often it was slowed down for
    /// being above the limit.
    pub held: u64,
    /// CPU: how long it was not allowed to run, all CPUs together. Memory and disk: how long some
    /// process of it waited for that. In microseconds.
    pub waited: u64,
    /// The disk: bytes read, bytes written, reads, writes.
    pub served: [u64; 4],
}

impl Counted {
    /// With what was counted between two moments.
    pub fn add(&mut self, since: &Self, now: &Self) {
        let more = |now: u64, since: u64| now.saturating_sub(since);
        self.periods += more(now.periods, since.periods);
        self.held += more(now.held, since.held);
        self.waited += more(now.waited, since.waited);
        for (index, sum) in self.served.iter_mut().enumerate() {
            *sum += more(now.served[index], since.served[index]);
        }
    }
}

/// The files of a cgroup that count, as the kernel wrote them; empty if it has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountFiles<'a> {
    /// `cpu.stat`, `memory.events.local` or `io.stat`.
    pub events: &'a str,
    /// `memory.pressure` or `io.pressure`.
    pub stalls: &'a str,
}

impl Pressure {
    /// The names of the files that count: events, and stalls if they are told apart.
    pub fn count_files(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Cpu(_) => ("cpu.stat", None),
            // The file without `.local` also has what happened at limits further down.
            Self::Memory(_) => ("memory.events.local", Some("memory.pressure")),
            Self::Io(_) => ("io.stat", Some("io.pressure")),
        }
    }

    /// What they say; `device` is the disk.
    pub fn counted(&self, files: CountFiles<'_>, device: Option<&str>) -> Counted {
        let event = |name: &str| flat(files.events, name);
        match self {
            Self::Cpu(_) => Counted {
                periods: event("nr_periods"),
                held: event("nr_throttled"),
                waited: event("throttled_usec"),
                ..Counted::default()
            },
            Self::Memory(_) => {
                let (held, waited) = (event("high"), stalled(files.stalls));
                Counted { held, waited, ..Counted::default() }
            }
            Self::Io(_) => Counted {
                waited: stalled(files.stalls),
                served: served(files.events, device.unwrap_or_default()),
                ..Counted::default()
            },
        }
    }

    /// Whether the limit held it back between two moments this far apart.
    pub fn held_back(&self, since: &Counted, now: &Counted, apart: Duration) -> bool {
        match self {
            Self::Cpu(_) | Self::Memory(_) => now.held > since.held,
            Self::Io(limits) => at_its_limit(*limits, since, now, apart),
        }
    }
}

/// The kernel does not count how often a disk's limit made somebody wait. So either as much was served
/// as the limit allows, or nothing at all while somebody waited all the time: what waits for its turn
/// is served later.
fn at_its_limit(limits: IoMax, since: &Counted, now: &Counted, apart: Duration) -> bool {
    let seconds = apart.as_secs_f64();
    let IoMax { rbps, wbps, riops, wiops } = limits;
    let (mut full, mut idle) = (false, true);
    for (index, limit) in [rbps, wbps, riops, wiops].into_iter().enumerate() {
        let Some(limit) = limit else { continue };
        let served = now.served[index].saturating_sub(since.served[index]);
        full |= served > 0 && served as f64 >= AT_THE_LIMIT * limit as f64 * seconds;
        idle &= served == 0;
    }
    let waited = Duration::from_micros(now.waited.saturating_sub(since.waited));
    full || idle && waited >= apart.mul_f64(AT_THE_LIMIT)
}

/// The number behind a name, in a file with one pair on each line.
fn flat(text: &str, name: &str) -> u64 {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    let found = pairs.find(|(key, _)| *key == name);
    found.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
}

/// How long some process has waited, in microseconds, from a pressure file.
fn stalled(text: &str) -> u64 {
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    some.map_or(0, |line| keyed(line, "total"))
}

fn served(text: &str, device: &str) -> [u64; 4] {
    let line = text.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    line.map_or([0; 4], |line| ["rbytes", "wbytes", "rios", "wios"].map(|key| keyed(line, key)))
}

/// The number behind `key=`.
fn keyed(line: &str, key: &str) -> u64 {
    let mut pairs = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let found = pairs.find(|(name, _)| *name == key);
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Bytes;
    use crate::plan::{Cpus, MemoryHigh};

    #[test]
    fn what_the_kernel_counts_is_read() {
        let cpu = Pressure::Cpu(Cpus::new(0.5).unwrap());
        let events = "usage_usec 2372\nuser_usec 1186\nsystem_usec 1186\nnr_periods 12\n\
                      nr_throttled 7\nthrottled_usec 530000\nnr_bursts 0\nburst_usec 0\n";
        let counted = cpu.counted(CountFiles { events, stalls: "" }, None);
        assert_eq!((counted.periods, counted.held, counted.waited), (12, 7, 530_000));

        let memory = Pressure::Memory(MemoryHigh::Bytes(Bytes::new(4096)));
        let events = "low 0\nhigh 31\nmax 1\noom 0\noom_kill 0\noom_group_kill 0\n";
        let stalls = "some avg10=1.00 avg60=0.20 avg300=0.00 total=1234\n\
                      full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n";
        let counted = memory.counted(CountFiles { events, stalls }, None);
        assert_eq!((counted.held, counted.waited), (31, 1234));

        let io = Pressure::Io(IoMax::default());
        let events = "8:16 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n\
                      8:1 rbytes=1 wbytes=2 rios=0 wios=1 dbytes=0 dios=0\n253:0 \n";
        let counted = |device| io.counted(CountFiles { events, stalls }, Some(device));
        assert_eq!(counted("8:16").served, [10, 20, 3, 4]);
        assert_eq!(counted("8:1").served, [1, 2, 0, 1]);
        assert_eq!(counted("253:0").served, [0; 4]);
        assert_eq!(counted("9:9"), Counted { waited: 1234, ..Counted::default() });
        // A file that is gone counts nothing.
        assert_eq!(cpu.counted(CountFiles::default(), None), Counted::default());
    }

    #[test]
    fn a_disk_is_held_back_at_its_limit_or_when_nothing_is_served() {
        let io = Pressure::Io(IoMax { rbps: Some(1000), wiops: Some(10), ..IoMax::default() });
        let since = Counted { waited: 5, served: [7; 4], ..Counted::default() };
        let after = |waited_ms: u64, served: [u64; 4]| {
            let mut now = Counted { waited: since.waited + waited_ms * 1000, ..since };
            now.served.iter_mut().zip(served).for_each(|(now, more)| *now += more);
            io.held_back(&since, &now, Duration::from_millis(500))
        };
        assert!(!after(0, [0; 4]));
        assert!(!after(500, [400, 0, 0, 0]), "a slow disk below the limit");
        assert!(after(100, [450, 0, 0, 0]) && after(0, [0, 0, 0, 5]));
        assert!(!after(300, [0; 4]), "nobody waited all the time");
        assert!(after(450, [0; 4]) && after(450, [0, 900, 900, 0]));
        assert!(!after(0, [0, 9_000_000, 9_000, 0]), "what has no limit is not held back");
    }

    #[test]
    fn cpu_and_memory_are_held_back_when_the_kernel_says_so() {
        let cpu = Pressure::Cpu(Cpus::new(0.5).unwrap());
        let none = Counted { periods: 9, ..Counted::default() };
        let held = Counted { held: 1, ..none };
        assert!(cpu.held_back(&none, &held, Duration::ZERO));
        assert!(!cpu.held_back(&held, &held, Duration::from_secs(9)));
    }
}
