//! What a test left behind in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::programs::{loaded_links, loaded_programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netlink::qdiscs;
use crate::reaper::reap;

/// How long the kernel may take to free what nobody holds any more.
const GRACE: Duration = Duration::from_secs(5);

/// What there was before the first test: a set of names per kind of thing.
pub(crate) struct Baseline(Vec<Kind>);

struct Kind {
    name: &'static str,
    list: List,
    before: BTreeSet<String>,
}

/// Lists what there is of a kind, by name.
type List = fn() -> BTreeSet<String>;

/// Everything that is looked at.
const KINDS: [(&str, List); 8] = [
    ("the process", processes),
    ("the link", links),
    ("the qdisc", || qdiscs().unwrap_or_default()),
    ("the named namespace", namespaces),
    ("the mount", mounts),
    ("the cgroup", cgroups),
    ("the BPF program", programs),
    ("the BPF link", bpf_links),
];

impl Baseline {
    /// Looks around before the first test.
    pub(crate) fn take() -> Self {
        Self(KINDS.iter().map(|&(name, list)| Kind { name, list, before: list() }).collect())
    }

    /// What is there now and was not before, after the kernel had time to clean up. Processes are
    /// ended, so that the next test does not meet them.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        loop {
            reap(None);
            let leaks = self.look();
            if leaks.is_empty() || Instant::now() >= deadline {
                self.end_processes();
                return leaks;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|kind| {
                let now = (kind.list)();
                now.difference(&kind.before)
                    .map(|new| format!("{} {new}", kind.name))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn end_processes(&self) {
        let before = self.0.iter().find(|kind| kind.name == KINDS[0].0).map(|kind| &kind.before);
        for process in processes() {
            if before.is_none_or(|before| before.contains(&process)) {
                continue;
            }
            let pid = process.split(' ').next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid {
                // It may have ended by itself in the meantime.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// `pid name` of every process that has a program; kernel threads have none.
fn processes() -> BTreeSet<String> {
    names_in("/proc")
        .into_iter()
        .filter(|name| name.parse::<u32>().is_ok_and(|pid| pid != 1))
        .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok())
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} {}", name.trim())
        })
        .collect()
}

fn links() -> BTreeSet<String> {
    names_in("/sys/class/net")
}

fn namespaces() -> BTreeSet<String> {
    names_in("/run/netns")
}

/// Mount points, each with the number of its mount.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{1} ({0})", words.next()?, words.nth(3)?))
        })
        .collect()
}

fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new("/sys/fs/cgroup").to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            found.insert(entry.path().display().to_string());
            folders.push(entry.path());
        }
    }
    found
}

fn programs() -> BTreeSet<String> {
    loaded_programs()
        .flatten()
        .map(|program| format!("{} {}", program.id(), program.name_as_str().unwrap_or("?")))
        .collect()
}

fn bpf_links() -> BTreeSet<String> {
    loaded_links().flatten().map(|link| link.id().to_string()).collect()
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
