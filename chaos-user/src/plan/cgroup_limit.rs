//! Limits of a cgroup (v2), as the kernel writes and reads them. Pure.

use std::fmt;

use crate::experiment::{Bytes, Percent};

/// The period of a CPU limit, in microseconds: the kernel's own choice.
const PERIOD: u64 = 100_000;
/// The least that a cgroup may run in a period, in microseconds: the kernel takes no less.
const LEAST_QUOTA: u64 = 1_000;

/// What a cgroup is to be short of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pressure {
    /// CPU time.
    Cpu(Cpus),
    /// Memory.
    Memory(MemoryHigh),
    /// The disk.
    Io(IoMax),
}

/// CPUs, in thousandths of one; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u32);

impl Cpus {
    /// From a number of CPUs, of at least 0.01 and at most 4096.
    pub fn new(cpus: f64) -> Option<Self> {
        (0.01..=4096.0).contains(&cpus).then(|| Self((cpus * 1000.0).round() as u32))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPUs", f64::from(self.0) / 1000.0)
    }
}

/// Above how much memory the kernel takes pages back, and makes those wait who want more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryHigh {
    /// So much.
    Bytes(Bytes),
    /// A share of what it has when the fault begins.
    Share(Percent),
}

impl MemoryHigh {
    /// In whole pages, at least one.
    pub fn bytes(self, current: u64, page: u64) -> u64 {
        let page = page.max(1);
        let bytes = match self {
            Self::Bytes(bytes) => bytes.get(),
            Self::Share(share) => {
                let part = u128::from(current) * u128::from(share.ppb());
                u64::try_from(part / u128::from(Percent::ALL.ppb())).unwrap_or(u64::MAX)
            }
        };
        (bytes / page).max(1) * page
    }
}

impl fmt::Display for MemoryHigh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Share(share) => write!(f, "{share} of what it has"),
        }
    }
}

/// How much of a disk may be used in a second; `None` is any amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoMax {
    /// Bytes read.
    pub rbps: Option<u64>,
    /// Bytes written.
    pub wbps: Option<u64>,
    /// Read operations.
    pub riops: Option<u64>,
    /// Write operations.
    pub wiops: Option<u64>,
}

impl IoMax {
    fn parts(self) -> [(&'static str, Option<u64>); 4] {
        let Self { rbps, wbps, riops, wiops } = self;
        [("rbps", rbps), ("wbps", wbps), ("riops", riops), ("wiops", wiops)]
    }

    /// What stands behind the device in `io.max`; what is not there is no limit.
    fn parse(line: &str) -> Self {
        let value = |key: &str| {
            let mut words = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
            words.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok())
        };
        let (rbps, wbps, riops, wiops) =
            (value("rbps"), value("wbps"), value("riops"), value("wiops"));
        Self { rbps, wbps, riops, wiops }
    }

    /// The lower of each two.
    fn lowered(self, to: Self) -> Self {
        let lower = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            rbps: lower(self.rbps, to.rbps),
            wbps: lower(self.wbps, to.wbps),
            riops: lower(self.riops, to.riops),
            wiops: lower(self.wiops, to.wiops),
        }
    }

    /// In words, of those that there are.
    pub fn in_words(self) -> String {
        let Self { rbps, wbps, riops, wiops } = self;
        let bytes = |what, limit: Option<u64>| Some(format!("{what} {}", Bytes::new(limit?)));
        let times = |what, limit: Option<u64>| Some(format!("{what} {} times", limit?));
        let parts = [
            bytes("reads at most", rbps),
            bytes("writes at most", wbps),
            times("reads at most", riops),
            times("writes at most", wiops),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for IoMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.parts().into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " " })?;
            match value {
                Some(value) => write!(f, "{key}={value}")?,
                None => write!(f, "{key}=max")?,
            }
        }
        Ok(())
    }
}

impl Pressure {
    /// The controller that limits it.
    pub fn controller(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Memory(_) => "memory",
            Self::Io(_) => "io",
        }
    }

    /// The file with the limit.
    pub fn file(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu.max",
            Self::Memory(_) => "memory.high",
            Self::Io(_) => "io.max",
        }
    }

    /// The value that makes the limit as low as this, in the kernel's own words; `None` if it is as
    /// low already. `now` is the limit before, `current` the memory in use, and `page` the size of a
    /// page, in bytes.
    pub fn lowered(&self, now: &str, current: u64, page: u64) -> Option<String> {
        match self {
            Self::Cpu(cpus) => {
                let quota = (u64::from(cpus.0) * PERIOD / 1000).max(LEAST_QUOTA);
                let lower = match cpu_max(now) {
                    Some((before, period)) => {
                        u128::from(quota) * u128::from(period)
                            < u128::from(before) * u128::from(PERIOD)
                    }
                    None => true,
                };
                lower.then(|| format!("{quota} {PERIOD}"))
            }
            Self::Memory(high) => {
                let high = high.bytes(current, page);
                let before: Option<u64> = now.trim().parse().ok();
                before.is_none_or(|before| high < before).then(|| high.to_string())
            }
            Self::Io(limits) => {
                let before = IoMax::parse(now);
                let lowered = before.lowered(*limits);
                (lowered != before).then(|| lowered.to_string())
            }
        }
    }
}

/// Quota and period; `None` without a limit.
fn cpu_max(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota.parse().ok()?, period.parse().ok()?))
}

/// The limit in a file: all of it, or what stands behind the device that it is for.
pub fn limit_in(text: &str, device: Option<&str>) -> String {
    let Some(device) = device else { return text.trim().to_owned() };
    let line = text.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    line.map_or(IoMax::default(), IoMax::parse).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(pressure: &Pressure, now: &str) -> Option<String> {
        pressure.lowered(now, 1_000_000, 4096)
    }

    #[test]
    fn a_share_of_the_cpus_is_only_ever_lowered() {
        let cpus = |number| Pressure::Cpu(Cpus::new(number).unwrap());
        for (number, now, then) in [
            (0.2, "max 100000", Some("20000 100000")),
            (1.5, "max 50000", Some("150000 100000")),
            (0.01, "max 100000", Some("1000 100000")),
            (0.2, "20000 100000", None),
            (0.2, "10000 100000", None),
            (0.2, "21000 100000", Some("20000 100000")),
            // A fifth of a shorter period, and a little more.
            (0.2, "2000 10000", None),
            (0.2, "2001 10000", Some("20000 100000")),
        ] {
            assert_eq!(lowered(&cpus(number), now).as_deref(), then, "{number} of {now}");
        }
        for number in [0.0, 0.009, -1.0, f64::NAN, f64::INFINITY, 4097.0] {
            assert_eq!(Cpus::new(number), None, "{number}");
        }
        insta::assert_snapshot!(Cpus::new(0.25).unwrap(), @"0.25 CPUs");
    }

    #[test]
    fn memory_is_counted_in_pages_and_only_ever_lowered() {
        let bytes = |bytes| Pressure::Memory(MemoryHigh::Bytes(Bytes::new(bytes)));
        let share = |share: &str| Pressure::Memory(MemoryHigh::Share(share.parse().unwrap()));
        for (pressure, now, then) in [
            (bytes(8192), "max", Some("8192")),
            (bytes(8191), "max", Some("4096")),
            (bytes(1), "max", Some("4096")),
            (bytes(8192), "8192", None),
            (bytes(8192), "4096", None),
            (bytes(8192), "12288", Some("8192")),
            (share("50%"), "max", Some("499712")),
            (share("100%"), "max", Some("999424")),
        ] {
            assert_eq!(lowered(&pressure, now).as_deref(), then, "{pressure:?} of {now}");
        }
        assert_eq!(MemoryHigh::Bytes(Bytes::new(u64::MAX)).bytes(0, 4096), u64::MAX - 4095);
    }

    #[test]
    fn each_limit_of_a_disk_is_only_ever_lowered() {
        let limits = IoMax { rbps: Some(1000), wiops: Some(10), ..IoMax::default() };
        let pressure = Pressure::Io(limits);
        for (now, then) in [
            (
                "rbps=max wbps=max riops=max wiops=max",
                Some("rbps=1000 wbps=max riops=max wiops=10"),
            ),
            ("rbps=500 wbps=7 riops=max wiops=max", Some("rbps=500 wbps=7 riops=max wiops=10")),
            ("rbps=500 wbps=7 riops=max wiops=9", None),
        ] {
            assert_eq!(lowered(&pressure, now).as_deref(), then, "{now}");
        }
        insta::assert_snapshot!(limits.in_words(), @"reads at most 1kB and writes at most 10 times");
    }

    #[test]
    fn the_limit_of_one_device_is_found_among_others() {
        let text = "8:16 rbps=2097152 wbps=max riops=max wiops=120\n8:1 rbps=max wbps=5 riops=max \
                    wiops=max idle=0 latency=max\n";
        insta::assert_snapshot!(limit_in(text, Some("8:16")), @"rbps=2097152 wbps=max riops=max wiops=120");
        insta::assert_snapshot!(limit_in(text, Some("8:1")), @"rbps=max wbps=5 riops=max wiops=max");
        insta::assert_snapshot!(limit_in("", Some("8:1")), @"rbps=max wbps=max riops=max wiops=max");
        insta::assert_snapshot!(limit_in("max 100000\n", None), @"max 100000");
    }
}
