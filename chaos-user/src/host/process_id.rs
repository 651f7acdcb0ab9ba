//! Processes without doubt.

use std::os::fd::OwnedFd;

use procfs::process::{ProcState, Process, Stat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// A process: its number, which the kernel gives to another one later, and when it started, which
/// that one cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number in the PID namespace of this process.
    pub pid: u32,
    /// When it started, in clock ticks since the machine was booted.
    pub started: u64,
}

impl ProcessId {
    /// The process with this number, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.starttime })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Every process of a process group.
    pub fn in_group(leader: u32) -> Vec<Self> {
        let Ok(processes) = procfs::process::all_processes() else { return Vec::new() };
        let stats = processes.flatten().filter_map(|process| process.stat().ok());
        stats
            .filter(|stat| stat.pgrp == leader.cast_signed())
            .map(|stat| Self { pid: stat.pid.cast_unsigned(), started: stat.starttime })
            .collect()
    }

    /// This process, if it lives, and all that descend from it and live.
    pub fn with_descendants(self) -> Vec<Self> {
        if !self.is_alive() {
            return Vec::new();
        }
        let Ok(processes) = procfs::process::all_processes() else { return vec![self] };
        let stats: Vec<Stat> = processes
            .flatten()
            .filter_map(|process| process.stat().ok())
            .filter(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))
            .collect();
        let mut family = vec![self];
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            let children = stats.iter().filter(|stat| stat.ppid == parent.pid.cast_signed());
            let children = children
                .map(|stat| Self { pid: stat.pid.cast_unsigned(), started: stat.starttime });
            family.extend(children.collect::<Vec<_>>());
            next += 1;
        }
        family
    }

    /// A descriptor that always means this process; `None` if it is gone.
    pub fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid.cast_signed())?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after opening: what the descriptor means cannot change any more.
        (self.stat()?.starttime == self.started).then_some(pidfd)
    }

    /// Whether it lives; a zombie does not.
    pub fn is_alive(self) -> bool {
        let dead = |state| matches!(state, ProcState::Zombie | ProcState::Dead);
        self.state().is_some_and(|state| !dead(state))
    }

    /// Whether it is stopped, by a signal or by a debugger.
    pub fn is_stopped(self) -> bool {
        matches!(self.state(), Some(ProcState::Stopped | ProcState::Tracing))
    }

    fn state(self) -> Option<ProcState> {
        self.stat()?.state().ok()
    }

    fn stat(self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.starttime == self.started)
    }
}

fn stat(pid: u32) -> Option<Stat> {
    Process::new(pid.cast_signed()).ok()?.stat().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_of_the_same_number_is_not_meant() {
        let own = ProcessId::own().unwrap();
        assert!(own.open().is_some() && own.is_alive() && !own.is_stopped());
        let other = ProcessId { started: own.started + 1, ..own };
        assert!(other.open().is_none() && !other.is_alive());
        let leader = nix::unistd::getpgrp().as_raw().cast_unsigned();
        assert!(ProcessId::in_group(leader).contains(&own));
    }
}
